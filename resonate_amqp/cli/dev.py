"""`dev`: a broker and a ledger of one's own, until Ctrl-C."""

from __future__ import annotations

import signal
import tempfile
import threading
from pathlib import Path

import click

from resonate_amqp.cli.options import as_json, logs
from resonate_amqp.cli.output import show_json
from resonate_amqp.dev.choose import choose
from resonate_amqp.resonate.ledger import start_ledger
from resonate_amqp.settings import PREFIX, read, resolve


@click.command()
@click.option(
    "--ledger", "ledger_url", metavar="URL", help="Keep the promises; else they go at the end."
)
@as_json
@logs
def dev(ledger_url: str | None, as_json: bool) -> None:
    """Run a private broker and a ledger until Ctrl-C, and print what to export."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    broker = choose()
    try:
        with tempfile.TemporaryDirectory(prefix="resonate-amqp-") as folder:
            database = resolve(ledger_url) if ledger_url else f"sqlite:///{Path(folder)}/ledger.db"
            running = start_ledger(read({"url": broker.url, "ledger": database}))
            try:
                _tell(broker.url, database, as_json)
                while not stopping.wait(0.2) and running.running:
                    pass
            finally:
                running.stop()
    finally:
        broker.stop()


def _tell(url: str, database: str, as_json: bool) -> None:
    if as_json:
        show_json({"url": url, "ledger": database})
        return
    click.echo("A private broker and a ledger are running. In another terminal:")
    click.echo()
    click.echo(f"  export {PREFIX}URL='{url}'")
    click.echo()
    click.echo("Ctrl-C stops both.")
