"""Recovery: b is killed with -9 while c works for it, b starts again, and c is not called twice.

    python examples/recovery.py

Starts a ledger and the services a, b and c as processes of their own, on the broker that
RESONATE_AMQP_URL names (a virtual host where nothing else runs), else on a private one. Exits
with 0 when c's body ran once and the gateway, which is this program, got 3.
"""

from __future__ import annotations

import os
import queue
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from resonate_amqp import Resonate
from resonate_amqp.dev.choose import choose

HERE = Path(__file__).resolve().parent
LEDGER = [sys.executable, "-m", "resonate_amqp", "ledger", "serve"]
C_WORKS_S = 3
PATIENCE_S = 60
EVENT = re.compile(r"\b(?P<id>recovery-\w+(?::[\d.]+)?) (?P<what>started .*|\w+ resolved .*)")


class Timeline:
    """Prints what the services log about this chain, and remembers it."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._heard: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._events: list[tuple[str, str]] = []

    def say(self, who: str, what: str) -> float:
        at = time.monotonic() - self._began
        print(f"{at:7.3f} s  {who:<10} {what}", flush=True)
        return at

    def follow(self, who: str, process: subprocess.Popen[str]) -> None:
        def read() -> None:
            assert process.stderr is not None
            for line in process.stderr:
                self._heard.put((who, line))

        threading.Thread(target=read, daemon=True).start()

    def until(self, who: str, what: str) -> float:
        """Print events until this one; answers when it came. Raises TimeoutError."""
        deadline = time.monotonic() + PATIENCE_S
        while (left := deadline - time.monotonic()) > 0:
            try:
                heard = self._heard.get(timeout=left)
            except queue.Empty:
                break
            event = EVENT.search(heard[1])
            if event is None:
                continue
            self._events.append((heard[0], event["what"]))
            at = self.say(heard[0], f"{event['id']} {event['what']}")
            if heard[0] == who and event["what"].startswith(what):
                return at
        raise TimeoutError(f"{who} did not log {what!r} within {PATIENCE_S} s")

    def count(self, what: str) -> int:
        return sum(event.startswith(what) for _, event in self._events)


def start(
    running: ExitStack, story: Timeline, who: str, command: list[str]
) -> subprocess.Popen[str]:
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    story.follow(who, process)
    running.callback(end, process)
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def service(running: ExitStack, story: Timeline, letter: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / f"service_{letter}.py")]
    return start(running, story, f"service-{letter}", command)


def main() -> int:
    story = Timeline()
    with ExitStack() as running:
        if "RESONATE_AMQP_URL" not in os.environ:
            broker = choose()
            running.callback(broker.stop)
            os.environ["RESONATE_AMQP_URL"] = broker.url
        folder = running.enter_context(tempfile.TemporaryDirectory())
        os.environ["RESONATE_AMQP_LEDGER"] = f"sqlite:///{folder}/ledger.db"
        os.environ["BAZ_SECONDS"] = str(C_WORKS_S)
        start(running, story, "ledger", LEDGER)
        b = [service(running, story, letter) for letter in "abc"][1]
        gateway = Resonate(group="gateway", request_timeout=PATIENCE_S)
        running.callback(gateway.stop)

        promise_id = f"recovery-{secrets.token_hex(3)}"
        handle = gateway.options(target="poll://service-a").rpc(promise_id, "foo")
        story.say("gateway", f"called foo as {promise_id}")
        story.until("service-c", "started baz")
        b.send_signal(signal.SIGKILL)
        killed = story.say("recovery", f"kill -9 of service-b; c works for {C_WORKS_S} s")
        service(running, story, "b")
        back = story.until("service-b", "started bar")
        story.say("recovery", f"the new b took over {back - killed:.3f} s after the kill")
        story.until("service-a", "foo resolved")
        result = handle.result(PATIENCE_S)
        story.say("gateway", f"got {result}")

    ran = {name: story.count(f"started {name}") for name in ("foo", "bar", "baz")}
    print("bodies started: " + ", ".join(f"{name} {times}" for name, times in ran.items()))
    return 0 if result == 3 and ran["baz"] == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
