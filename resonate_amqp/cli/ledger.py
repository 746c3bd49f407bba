"""`ledger`: the service that records, and its database."""

from __future__ import annotations

import signal
import threading

import click

from resonate_amqp.cli.options import as_json, broker, failpoints, ledger_url, logs
from resonate_amqp.cli.output import show_json
from resonate_amqp.errors import ResonateError
from resonate_amqp.ledgers import schema, sharding
from resonate_amqp.resonate.failpoints import Mishap
from resonate_amqp.resonate.ledger import start_ledger
from resonate_amqp.settings import PREFIX, read, resolve


@click.group()
def ledger() -> None:
    """The ledger service and its database."""


@ledger.command()
@broker
@ledger_url
@click.option(
    "--foreign",
    envvar=PREFIX + "FOREIGN",
    show_envvar=True,
    metavar="PATTERNS",
    help="Queues of others that calls may be sent to, as in 'celery,shop.*'; all unless given.",
)
@failpoints
@logs
def serve(
    broker_url: str, ledger_url: str, foreign: str | None, mishaps: tuple[Mishap, ...]
) -> None:
    """Record promises until SIGTERM or Ctrl-C; creates the schema in an empty database."""
    settings = read({"url": broker_url, "ledger": ledger_url, "foreign": foreign})
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    running = start_ledger(settings, mishaps)
    while not stopping.wait(0.2) and running.running:
        pass
    failed = not running.running
    running.stop()
    if failed:
        raise ResonateError("the ledger's loop failed; the log says why")


@ledger.command()
@ledger_url
@as_json
def migrate(ledger_url: str, as_json: bool) -> None:
    """Bring the database's schema to this release; stop every ledger service before."""
    before, after = schema.migrate(resolve(ledger_url))
    if as_json:
        show_json({"before": before, "after": after})
    elif before == after:
        click.echo(f"the schema is {after} already")
    else:
        click.echo(f"the schema is {after} now (before: {before or 'none'})")


@ledger.command()
@click.option("--queues", required=True, type=click.IntRange(1, 64), help="How many queues.")
@ledger_url
@as_json
def reshard(queues: int, ledger_url: str, as_json: bool) -> None:
    """Divide the promises among several ledger queues, each served by a thread of its own.

    Ledger services that run take notice by themselves.
    """
    owners = sharding.reshard(resolve(ledger_url), queues)
    counts = {queue: owners.count(queue) for queue in sorted(set(owners))}
    if as_json:
        show_json({"queues": counts})
        return
    for queue, count in counts.items():
        click.echo(f"resonate.ledger.{queue} keeps {count} shards")
