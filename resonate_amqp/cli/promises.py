"""`promises`: look at one promise, or settle it from outside."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from resonate_amqp.cli.options import as_json, broker, client, json_or_text, request_timeout
from resonate_amqp.cli.options import limit as at_most
from resonate_amqp.cli.output import FAILED, cut, fail, show_json, show_promise
from resonate_amqp.cli.records import Source, source
from resonate_amqp.core.model import Promise
from resonate_amqp.errors import Conflict, UsageError
from resonate_amqp.operate.tree import describe
from resonate_amqp.resonate import Resonate
from resonate_amqp.wire.records import write_promise
from resonate_amqp.wire.tags import MESSAGE_ID


@click.group()
def promises() -> None:
    """Look at promises, and settle them."""


@promises.command()
@click.argument("promise_id", metavar="ID")
@as_json
@source
def get(promise_id: str, as_json: bool, source: Source) -> None:
    """Show the promise ID."""
    with _not_found(), source.opened() as records:
        promise, task = records.promise(promise_id)
        show_promise(promise, task if promise.pending else None, as_json=as_json)


@promises.command()
@click.option("--message-id", metavar="ID", help="Those made of a message that was called ID.")
@click.option("--tag", metavar="NAME=VALUE", help="Those that have a tag with this value.")
@at_most
@as_json
@source
def find(
    message_id: str | None, tag: str | None, limit: int, as_json: bool, source: Source
) -> None:
    """Find promises by what their message was called, or by a tag; the oldest first."""
    if (message_id is None) == (tag is None):
        raise click.UsageError("give either --message-id ID or --tag NAME=VALUE")
    name, given, value = (tag or f"{MESSAGE_ID}={message_id}").partition("=")
    if not (name and given):
        raise click.UsageError(f"--tag {tag!r} is not of the form NAME=VALUE")
    with source.opened() as records:
        found = cut(records.tagged(name, value, limit + 1), limit)
    if as_json:
        show_json([write_promise(one) for one in found])
    for one in found if not as_json else ():
        click.echo(describe(one, None))
    if not found:
        fail(f"no promise has the tag {name} with the value {value!r}")
        sys.exit(FAILED)


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
    """Cancel the promise ID, and what it has called: whoever awaits it gets Canceled.

    Detached calls go on.
    """
    _show(lambda resonate: resonate.promises.cancel(promise_id), as_json, timeout_s, broker_url)


def _show(
    ask: Callable[[Resonate], Promise], as_json: bool, timeout_s: float, broker_url: str
) -> None:
    resonate = client(broker_url, timeout_s)
    try:
        with _not_found():
            promise = ask(resonate)
            task = resonate.promises.task(promise.id) if promise.pending else None
            show_promise(promise, task, as_json=as_json)
    except Conflict as error:
        fail(str(error))
        sys.exit(FAILED)
    finally:
        resonate.stop()


@contextmanager
def _not_found() -> Iterator[None]:
    """Exit with 1, and not with 2, for a promise that does not exist."""
    try:
        yield
    except Conflict:
        raise
    except UsageError as error:
        if "does not exist" not in str(error):
            raise
        fail(str(error))
        sys.exit(FAILED)
