"""`relay`: sends the calls that applications recorded in their own transactions."""

from __future__ import annotations

import signal
import threading

import click

from resonate_amqp.cli.options import broker, logs
from resonate_amqp.ledgers.calls import open_engine
from resonate_amqp.resonate import Resonate
from resonate_amqp.settings import PREFIX, resolve


@click.command()
@click.option(
    "--database",
    "database_url",
    envvar=PREFIX + "DATABASE",
    show_envvar=True,
    required=True,
    metavar="URL",
    help="The application's database, as SQLAlchemy writes it; env:NAME or file:PATH.",
)
@broker
@logs
def relay(database_url: str, broker_url: str) -> None:
    """Send the calls that `create_in` recorded in a database until SIGTERM or Ctrl-C."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    engine = open_engine(resolve(database_url))
    resonate = Resonate(broker_url, group="relay")
    try:
        resonate.relay(engine)
        stopping.wait()
    finally:
        resonate.stop()
        engine.dispose()
