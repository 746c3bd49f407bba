"""Programs that fork, after an instance was made or used.

`gateway`: calls, forks a child that calls too, and calls again. `prefork`: a master that serves
nothing itself and forks workers. `embedded`: forks beside a ledger in its own process.
As a module it is a worker whose leaf forks a child that outlives it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

from resonate_amqp import Context, Resonate, UsageError
from tests.scenarios.journal import own_journal

# Later Pythons warn of what is tried here.
warnings.filterwarnings("ignore", category=DeprecationWarning)

CHILD_LIVES_S = 60
LOCKED_WITHIN_S = 10

journal = own_journal()
resonate = Resonate(group="service-d", pid=os.environ.get("FORKING_PID"))


@resonate.register
def forks(ctx: Context) -> str:
    journal.began("forks", ctx.id)
    if len(journal.runs("forks")) == 1:
        if os.fork() == 0:
            until = time.monotonic() + CHILD_LIVES_S
            while journal.closed("child") and time.monotonic() < until:
                time.sleep(0.01)
            os._exit(0)
        journal.pass_gate("forks")
    return "done"


@resonate.register
def works(ctx: Context) -> int:
    journal.began("works", ctx.id)
    journal.pass_gate("works")
    return 1


def say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def in_a_child(body: Callable[[], None]) -> int:
    """Run `body` in a fork, which ends as any program does; answers its exit code."""
    pid = os.fork()
    if pid == 0:
        body()
        sys.exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def refusal(ask: Callable[[], object]) -> str:
    try:
        return f"no refusal: {ask()}"
    except UsageError as error:
        return str(error)


def holder(promise_id: str) -> str | None:
    """The pid of the process that runs a call."""
    while True:
        tree = resonate.tree(promise_id)
        if tree and tree[0][1] is not None and tree[0][1].pid:
            return tree[0][1].pid
        time.sleep(0.01)


def gateway() -> None:
    before = resonate.run("before", "works")
    say(pid=holder("before"))

    def child() -> None:
        say(handle=refusal(before.result), done=refusal(before.done), shown=repr(before))
        handle = resonate.run("in-child", "works")
        say(child_pid=holder("in-child"), same=resonate.get("before").id)
        journal.open_gate("works")
        say(child=handle.result(20))

    say(code=in_a_child(child))
    say(before=before.result(20), after=resonate.run("after", "works").result(20))
    resonate.stop()


def end_with(parent: int) -> None:
    """A child of a scenario that failed must not be left behind."""
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(1)


def prefork(count: str) -> None:
    children = []
    for _ in range(int(count)):
        pid = os.fork()
        if pid == 0:
            threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
            resonate.serve()
            sys.exit(0)
        children.append(pid)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    stopping.wait()
    for pid in children:
        os.kill(pid, signal.SIGTERM)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    say(codes=codes)


def embedded(ledger: str) -> None:
    """The child gets no answer from what the parent keeps, and breaks none of it."""
    own = Resonate(group="own", ledger=ledger, url="")
    own.register(works)
    before = own.rpc("before", works)
    journal.open_gate("works")
    say(before=before.result(10))

    def child() -> None:
        say(handle=refusal(before.result), call=refusal(lambda: own.rpc("x", works).result(10)))

    say(code=in_a_child(child))
    say(after=own.rpc("after", works).result(10))
    own.stop()


def locked(ledger: str) -> None:
    """Forks while another thread holds the lock under which the instance opens its ledger."""
    warm = Resonate(url="", ledger=f"{ledger}-warm")
    warm.promises.create("x")
    warm.stop()
    own = Resonate(url="", group="own", ledger=ledger)
    thread = threading.Thread(target=own.promises.create, args=("first",))
    thread.start()
    while not own._lock.locked():
        pass

    def child() -> None:
        threading.Timer(LOCKED_WITHIN_S, os._exit, (9,)).start()
        say(call=refusal(lambda: own.promises.create("second").id))
        os._exit(0)

    say(code=in_a_child(child))
    thread.join()
    say(after=own.promises.get("first").id)
    own.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(process)d %(message)s")
    what, *given = sys.argv[1:]
    programs: dict[str, Callable[..., None]] = {
        "gateway": gateway,
        "prefork": prefork,
        "embedded": embedded,
        "locked": locked,
    }
    programs[what](*given)
