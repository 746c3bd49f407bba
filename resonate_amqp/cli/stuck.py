"""`stuck`: what waits longer than it should."""

from __future__ import annotations

import dataclasses
import time

import click

from resonate_amqp.cli.options import as_json, broker, client, request_timeout
from resonate_amqp.cli.options import limit as at_most
from resonate_amqp.cli.output import cut, show_json
from resonate_amqp.operate.stuck import STATES, explain
from resonate_amqp.operate.tree import lasting


@click.command()
@click.option(
    "--older",
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    help="Leave out what has waited for less; halted tasks are always listed.",
)
@at_most
@as_json
@request_timeout
@broker
def stuck(older: float, limit: int, as_json: bool, timeout_s: float, broker_url: str) -> None:
    """List the tasks that are halted, or have waited for long, and what each waits for."""
    resonate = client(broker_url, timeout_s)
    try:
        found = explain(cut(resonate.tasks.search(STATES, older=older, limit=limit + 1), limit))
    finally:
        resonate.stop()
    if as_json:
        show_json([dataclasses.asdict(one) for one in found])
        return
    now = time.time_ns() // 1_000_000
    for one in found:
        age = f" for {lasting(now - one.since)}" if one.since is not None else ""
        function = f" ({one.function})" if one.function else ""
        click.echo(f"{one.id}{function} {one.state}{age}: waits for {one.waits_for}")
    if not found:
        click.echo(f"nothing is halted, and nothing has waited for {lasting(round(older * 1000))}")
