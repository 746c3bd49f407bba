"""`promises`: look at one promise, or settle it from outside."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from resonate_amqp.cli.options import as_json, broker, client, json_or_text, request_timeout
from resonate_amqp.cli.output import FAILED, fail, show_promise
from resonate_amqp.core.model import Promise
from resonate_amqp.errors import Conflict, UsageError
from resonate_amqp.resonate import Resonate


@click.group()
def promises() -> None:
    """Look at promises, and settle them."""


@promises.command()
@click.argument("promise_id", metavar="ID")
@as_json
@request_timeout
@broker
def get(promise_id: str, as_json: bool, timeout_s: float, broker_url: str) -> None:
    """Show the promise ID."""
    _show(lambda resonate: resonate.promises.get(promise_id), as_json, timeout_s, broker_url)


@promises.command()
@click.argument("promise_id", metavar="ID")
@click.option("--value", default="null", help="The value: JSON, or else text.")
@as_json
@request_timeout
@broker
def resolve(promise_id: str, value: str, as_json: bool, timeout_s: float, broker_url: str) -> None:
    """Resolve the promise ID with a value."""
    _show(
        lambda resonate: resonate.promises.resolve(promise_id, json_or_text(value)),
        as_json,
        timeout_s,
        broker_url,
    )


@promises.command()
@click.argument("promise_id", metavar="ID")
@click.option("--error", default="rejected by an operator", help="The message of the error.")
@as_json
@request_timeout
@broker
def reject(promise_id: str, error: str, as_json: bool, timeout_s: float, broker_url: str) -> None:
    """Reject the promise ID with an error."""
    _show(
        lambda resonate: resonate.promises.reject(promise_id, error),
        as_json,
        timeout_s,
        broker_url,
    )


@promises.command()
@click.argument("promise_id", metavar="ID")
@as_json
@request_timeout
@broker
def cancel(promise_id: str, as_json: bool, timeout_s: float, broker_url: str) -> None:
    """Cancel the promise ID: whoever awaits it gets Canceled."""
    _show(lambda resonate: resonate.promises.cancel(promise_id), as_json, timeout_s, broker_url)


def _show(
    ask: Callable[[Resonate], Promise], as_json: bool, timeout_s: float, broker_url: str
) -> None:
    resonate = client(broker_url, timeout_s)
    try:
        promise = ask(resonate)
        task = resonate.promises.task(promise.id) if promise.pending else None
        show_promise(promise, task, as_json=as_json)
    except Conflict as error:
        fail(str(error))
        sys.exit(FAILED)
    except UsageError as error:
        if "does not exist" not in str(error):
            raise
        fail(str(error))
        sys.exit(FAILED)
    finally:
        resonate.stop()
