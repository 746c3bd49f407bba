"""`tasks`: set going again what has stopped."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from resonate_amqp.cli.options import as_json, broker, client, request_timeout
from resonate_amqp.cli.output import FAILED, fail, show_json
from resonate_amqp.core.model import Task
from resonate_amqp.errors import InvalidId, UsageError
from resonate_amqp.resonate import Resonate
from resonate_amqp.wire.records import write_task


@click.group()
def tasks() -> None:
    """Tasks: the right to run a promise's function."""


@tasks.command()
@click.argument("promise_id", metavar="ID")
@as_json
@request_timeout
@broker
def redrive(promise_id: str, as_json: bool, timeout_s: float, broker_url: str) -> None:
    """Offer the pending or halted task ID again, now.

    A pending call to a queue of others is sent there once more, and may be done twice.
    """
    _do(broker_url, timeout_s, as_json, lambda resonate: resonate.tasks.redrive(promise_id))


@tasks.command()
@click.argument("promise_id", metavar="ID")
@click.option(
    "--reason",
    default="halted by an operator",
    show_default=True,
    metavar="TEXT",
    help="Why, for whoever looks at it next.",
)
@as_json
@request_timeout
@broker
def halt(promise_id: str, reason: str, as_json: bool, timeout_s: float, broker_url: str) -> None:
    """Stop the task ID until it is redriven; its promise stays pending."""
    _do(broker_url, timeout_s, as_json, lambda resonate: resonate.tasks.halt(promise_id, reason))


def _do(broker_url: str, timeout_s: float, as_json: bool, act: Callable[[Resonate], Task]) -> None:
    resonate = client(broker_url, timeout_s)
    try:
        task = act(resonate)
    except InvalidId:
        raise
    except UsageError as error:
        fail(str(error))
        sys.exit(FAILED)
    finally:
        resonate.stop()
    if as_json:
        show_json(write_task(task))
    else:
        click.echo(f"{task.id} {task.state.value}")
