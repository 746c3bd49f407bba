"""The embedded demo: three flows in this process, then a whole system killed and started again."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from resonate_amqp.dev.demo.expect import expect
from resonate_amqp.dev.demo.lines import Lines
from resonate_amqp.dev.demo.services import LETTERS, Pause, register, target
from resonate_amqp.errors import ResonateError
from resonate_amqp.operate.tree import render
from resonate_amqp.resonate import Embedded, Resonate

WAIT_S = 20.0
CRASH_MARK = "has c's result"


def run() -> None:
    """The whole embedded demo; raises ResonateError when an expectation fails."""
    _three_flows()
    _recovery()


@contextmanager
def system(lines: Lines, pause: Pause, ledger: str | None = None) -> Iterator[Resonate]:
    """The nine services around one embedded system; the answer is the gateway."""

    def say(text: str) -> None:
        lines.line("service-f", "", text)

    with Embedded(ledger) as embedded:
        services = []
        for letter in LETTERS:
            name = f"service-{letter}"
            service = Resonate(system=embedded, group=name, grace=1, telemetry=lines.of(name))
            register(service, letter, pause, say)
            service.start()
            services.append(service)
        gateway = Resonate(system=embedded, group="gateway")
        try:
            yield gateway
        finally:
            for service in (gateway, *services):
                service.stop()


def _three_flows() -> None:
    click.secho("Three flows, nine services, every call a durable promise", bold=True)
    lines = Lines(begins=False)
    with system(lines, lambda _where: None) as gateway:
        began = time.monotonic()
        click.echo("\n await-chain: gateway → a → b → c")
        chain = gateway.options(target=target("a")).rpc("await-chain", "foo")
        expect("await-chain", chain.result(WAIT_S), 3)
        lines.wait_for("foo")
        click.echo("\n detached-chain: gateway → d ⇢ e ⇢ f, nobody waits")
        gateway.options(target=target("d")).rpc("detached-chain", "qux", 1).result(WAIT_S)
        lines.wait_for("cog")
        click.echo("\n fan-out: gateway → g → h and i")
        fan = gateway.options(target=target("g")).rpc("fan-out-workflow", "zim", 1)
        expect("fan-out-workflow", fan.result(WAIT_S), 3)
        lines.wait_for("zim")
        again = gateway.options(target=target("a")).rpc("await-chain", "foo").result(WAIT_S)
        click.echo(f"\n the same id again: {again}, and nothing ran")
        click.echo(f" {(time.monotonic() - began) * 1000:.0f} ms in all\n")


def _recovery() -> None:
    click.secho("Recovery: the whole system dies after c's result is recorded", bold=True)
    begun: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="resonate-amqp-demo-") as folder:
        ledger = f"sqlite:///{Path(folder) / 'ledger.db'}"
        click.echo("\n the system, a process of its own, on a SQLite file")
        with _child(ledger, "crash") as first:
            if not _relay(first, begun, until=CRASH_MARK):
                raise ResonateError("the system ended before b had c's result")
            first.kill()
            first.wait()
        click.echo("\n kill -9. Nothing is left but the file. The same program again:")
        began = time.monotonic()
        with _child(ledger, "go on") as second:
            if not _relay(second, begun, until="await-chain = 3"):
                raise ResonateError("the restarted system did not answer")
            click.echo(f"\n answered {(time.monotonic() - began) * 1000:.0f} ms after its start")
            _relay(second, begun, until="")
        expect("c's body ran", begun["baz"], 1)
        expect("b's body ran", begun["bar"], 2)
        click.echo()


@contextmanager
def _child(ledger: str, how: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "resonate_amqp.dev.demo.embedded", ledger, how]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


def _relay(child: subprocess.Popen[str], begun: Counter[str], until: str) -> bool:
    """Pass the child's lines on, counting bodies, until one holds the text or it ends."""
    assert child.stdout is not None
    for line in child.stdout:
        click.echo(line.rstrip("\n"))
        if line.rstrip().endswith(" begins"):
            begun[line.split()[-2]] += 1
        if until and until in line:
            return True
    return not until


def main(ledger: str, how: str) -> None:
    """The child: the nine services and the gateway on one SQLite file."""
    lines = Lines(begins=True)

    def pause(where: str) -> None:
        if how == "crash" and where == "b":
            lines.line("service-b", "", CRASH_MARK)
            time.sleep(WAIT_S)

    with system(lines, pause, ledger) as gateway:
        chain = gateway.options(target=target("a")).rpc("await-chain", "foo")
        result = chain.result(WAIT_S)
        lines.wait_for("foo")
        lines.line("gateway", "await-chain", f"await-chain = {result}")
        click.echo("\n what the ledger holds:")
        for text in render("await-chain", gateway.tree("await-chain")):
            click.echo(f"  {text}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
