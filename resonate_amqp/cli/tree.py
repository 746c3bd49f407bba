"""`tree`: everything that one call called."""

from __future__ import annotations

import sys
import time

import click

from resonate_amqp.cli.options import as_json
from resonate_amqp.cli.output import FAILED, fail, show_json
from resonate_amqp.cli.records import Source, source
from resonate_amqp.core.model import origin_of
from resonate_amqp.operate.tree import render
from resonate_amqp.wire.records import write_promise, write_task


@click.command()
@click.argument("promise_id", metavar="ID")
@as_json
@source
def tree(promise_id: str, as_json: bool, source: Source) -> None:
    """Show the promises of the call ID, and of every call it made."""
    root = origin_of(promise_id)
    with source.opened() as records:
        nodes = records.tree(root)
    if not nodes:
        fail(f"promise {root!r} does not exist")
        sys.exit(FAILED)
    if as_json:
        show_json(
            [
                {"promise": write_promise(promise), "task": write_task(task) if task else None}
                for promise, task in nodes
            ]
        )
        return
    for line in render(root, nodes, time.time_ns() // 1_000_000):
        click.echo(line)
