"""The demo over real RabbitMQ: one process per service; b alone is killed while c works."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from resonate_amqp.brokers.rabbitmq import RabbitBroker
from resonate_amqp.dev.broker import PrivateBroker
from resonate_amqp.dev.demo.expect import expect
from resonate_amqp.dev.demo.service import GATE, READY
from resonate_amqp.dev.demo.services import LETTERS, target
from resonate_amqp.errors import BrokerError, ResonateError, UsageError
from resonate_amqp.operate.tree import render
from resonate_amqp.ports import Disconnected, Opened, Refused
from resonate_amqp.resonate import Resonate
from resonate_amqp.settings import PREFIX
from resonate_amqp.wire.topology import ledger_queue

WAIT_S = 30.0


def run(broker_url: str) -> None:
    """The whole demo; `private` starts a broker of its own.

    Raises UsageError when the virtual host is in use by a ledger, BrokerError when there is no
    broker, ResonateError when an expectation fails.
    """
    with ExitStack() as stack:
        if broker_url == "private":
            click.echo("Starting a private RabbitMQ …")
            broker_url = stack.enter_context(PrivateBroker()).url
        else:
            _check_unused(broker_url)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="resonate-demo-")))
        cast = stack.enter_context(_cast(broker_url, folder))
        gateway = Resonate(broker_url, group="gateway", request_timeout=WAIT_S)
        stack.callback(gateway.stop)
        _flows(cast, gateway)
        _recovery(cast, gateway)
        click.echo("\n what the ledger holds:")
        for text in render("recovery", gateway.tree("recovery")):
            click.echo(f"  {text}")


class Cast:
    """The processes of the demo, and everything they have said."""

    def __init__(self, broker_url: str, folder: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        self.gate = folder / "gate"
        self._environment = kept | {
            PREFIX + "URL": broker_url,
            PREFIX + "LEDGER": f"sqlite:///{folder / 'ledger.db'}",
            GATE: str(self.gate),
            "PYTHONIOENCODING": "utf-8",
        }
        self._said: list[str] = []
        self._changed = threading.Condition()
        self._running: dict[str, subprocess.Popen[str]] = {}

    def start(self, name: str, *command: str) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._running[name] = process
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()

    def start_service(self, letter: str) -> None:
        self.start(letter, "resonate_amqp.dev.demo.service", letter)

    def kill(self, name: str) -> None:
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until as many lines hold the text; raises ResonateError when they do not come."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.count(text) >= times, WAIT_S):
                raise ResonateError(f"nobody said {text!r} {times} times within {WAIT_S:g} s")

    def count(self, text: str) -> int:
        return sum(text in line for line in self._said)

    def end(self) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if not line.rstrip().endswith(READY):
                click.echo(line.rstrip("\n"))
            with self._changed:
                self._said.append(line.rstrip())
                self._changed.notify_all()


@contextmanager
def _cast(broker_url: str, folder: Path) -> Iterator[Cast]:
    cast = Cast(broker_url, folder)
    try:
        click.echo("Starting a ledger and nine services, a process each …")
        cast.start("ledger", "resonate_amqp", "ledger", "serve", "--log-level", "critical")
        for letter in LETTERS:
            cast.start_service(letter)
        cast.wait_for(READY, len(LETTERS))
        yield cast
    finally:
        cast.end()


def _flows(cast: Cast, gateway: Resonate) -> None:
    click.echo("\n await-chain: gateway → a → b → c")
    chain = gateway.options(target=target("a")).rpc("await-chain", "foo")
    expect("await-chain", chain.result(WAIT_S), 3)
    cast.wait_for("foo resolved")
    click.echo("\n detached-chain: gateway → d ⇢ e ⇢ f, nobody waits")
    gateway.options(target=target("d")).rpc("detached-chain", "qux", 1).result(WAIT_S)
    cast.wait_for("cog resolved")
    click.echo("\n fan-out: gateway → g → h and i")
    fan = gateway.options(target=target("g")).rpc("fan-out-workflow", "zim", 1)
    expect("fan-out-workflow", fan.result(WAIT_S), 3)
    cast.wait_for("zim resolved")


def _recovery(cast: Cast, gateway: Resonate) -> None:
    click.secho("\nRecovery: b is killed while c works", bold=True)
    before = {name: cast.count(f"{name} begins") for name in ("bar", "baz")}
    cast.gate.touch()
    chain = gateway.options(target=target("a")).rpc("recovery", "foo")
    cast.wait_for("baz begins", before["baz"] + 1)
    click.echo("\n kill -9 of service-b, and the same program again:")
    cast.kill("b")
    cast.start_service("b")
    began = time.monotonic()
    cast.wait_for("bar begins", before["bar"] + 2)
    took_ms = (time.monotonic() - began) * 1000
    click.echo(f" b has its call back {took_ms:.0f} ms after its start; now c may end")
    cast.gate.unlink()
    expect("recovery", chain.result(WAIT_S), 3)
    cast.wait_for("foo resolved", 2)
    expect("c's body ran", cast.count("baz begins") - before["baz"], 1)
    expect("b's body ran", cast.count("bar begins") - before["bar"], 2)


def _check_unused(url: str) -> None:
    """A ledger of the demo beside one that serves somebody would take its requests."""
    broker = RabbitBroker(url, name="resonate_amqp demo")
    until = time.monotonic() + 10
    asked = False
    try:
        while time.monotonic() < until:
            for event in broker.poll(100):
                match event:
                    case Disconnected(reason=reason):
                        raise BrokerError(f"broker {broker.shown}: {reason}")
                    case Refused():
                        return
                    case Opened():
                        broker.declare(ledger_queue(0), passive=True)
                        asked = True
                        until = time.monotonic() + 2
                    case _:
                        pass
    finally:
        broker.close()
    if not asked:
        raise BrokerError(f"broker {broker.shown} was not reached within 10 s")
    raise UsageError(
        f"broker {broker.shown} has a ledger's queue already; give the demo a virtual host of "
        "its own, so that it takes no request meant for that ledger"
    )
