"""`stuck`: what waits longer than it should."""

from __future__ import annotations

import dataclasses
import time

import click

from resonate_amqp.cli.options import as_json
from resonate_amqp.cli.options import limit as at_most
from resonate_amqp.cli.output import cut, show_json
from resonate_amqp.cli.records import Source, source
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
@source
def stuck(older: float, limit: int, as_json: bool, source: Source) -> None:
    """List the tasks that are halted, or have waited for long, and what each waits for."""
    with source.opened() as records:
        found = explain(cut(records.tasks(STATES, older, limit + 1), limit))
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
