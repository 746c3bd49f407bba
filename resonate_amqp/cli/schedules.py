"""`schedules`: the calls made by the clock, as an operator sees and stops them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from resonate_amqp.cli.options import as_json, broker, client, request_timeout
from resonate_amqp.cli.options import limit as at_most
from resonate_amqp.cli.output import FAILED, cut, fail, instant, show_json
from resonate_amqp.core.model import TARGET, Schedule
from resonate_amqp.errors import Conflict, UsageError
from resonate_amqp.resonate import Resonate
from resonate_amqp.wire.schedules import write_schedule


@click.group()
def schedules() -> None:
    """Schedules: calls made at every tick of a cron expression, in UTC."""


@schedules.command(name="list")
@at_most
@as_json
@request_timeout
@broker
def list_(limit: int, as_json: bool, timeout_s: float, broker_url: str) -> None:
    """Show every schedule, one a line: its next tick, expression and function."""
    with _asking(broker_url, timeout_s) as resonate:
        found = cut(resonate.schedules.search(limit=limit + 1), limit)
    if as_json:
        show_json([write_schedule(one) for one in found])
        return
    for one in found:
        called = f"{one.param.headers.get('func', '')} at {one.tags.get(TARGET, '')}"
        click.echo(f"{one.id} {_next(one)} ({one.cron}) {called}")


@schedules.command()
@click.argument("schedule_id", metavar="ID")
@as_json
@request_timeout
@broker
def get(schedule_id: str, as_json: bool, timeout_s: float, broker_url: str) -> None:
    """Show the schedule ID."""
    _show(lambda resonate: resonate.schedules.get(schedule_id), as_json, timeout_s, broker_url)


@schedules.command()
@click.argument("schedule_id", metavar="ID")
@as_json
@request_timeout
@broker
def pause(schedule_id: str, as_json: bool, timeout_s: float, broker_url: str) -> None:
    """Let the ticks of the schedule ID pass until it is resumed."""
    _show(lambda resonate: resonate.schedules.pause(schedule_id), as_json, timeout_s, broker_url)


@schedules.command()
@click.argument("schedule_id", metavar="ID")
@as_json
@request_timeout
@broker
def resume(schedule_id: str, as_json: bool, timeout_s: float, broker_url: str) -> None:
    """Go on with the next tick of the schedule ID."""
    _show(lambda resonate: resonate.schedules.resume(schedule_id), as_json, timeout_s, broker_url)


@schedules.command()
@click.argument("schedule_id", metavar="ID")
@click.option("--id", "promise_id", help="The id of the call: ID, a dot, 15 characters and Z.")
@as_json
@request_timeout
@broker
def trigger(
    schedule_id: str, promise_id: str | None, as_json: bool, timeout_s: float, broker_url: str
) -> None:
    """Make one call of the schedule ID now, paused or not, and print the call's id."""
    with _asking(broker_url, timeout_s) as resonate:
        called = resonate.schedules.trigger(schedule_id, promise_id).id
    show_json({"id": called}) if as_json else click.echo(called)


@schedules.command()
@click.argument("schedule_id", metavar="ID")
@request_timeout
@broker
def delete(schedule_id: str, timeout_s: float, broker_url: str) -> None:
    """Make no more calls of the schedule ID; those that were made go on."""
    with _asking(broker_url, timeout_s) as resonate:
        if not resonate.schedules.delete(schedule_id):
            raise UsageError(f"schedule {schedule_id!r} does not exist")
    click.echo(f"{schedule_id} deleted")


def _show(
    ask: Callable[[Resonate], Schedule], as_json: bool, timeout_s: float, broker_url: str
) -> None:
    with _asking(broker_url, timeout_s) as resonate:
        schedule = ask(resonate)
    if as_json:
        show_json(write_schedule(schedule))
        return
    rows = [
        ("id", schedule.id),
        ("cron", schedule.cron),
        ("next", _next(schedule)),
        ("last", instant(schedule.last_at) if schedule.last_at is not None else ""),
        ("function", schedule.param.headers.get("func", "")),
        ("target", schedule.tags.get(TARGET, "")),
        ("timeout", f"{schedule.timeout_ms / 1000:g} s"),
        ("created", instant(schedule.created_at)),
    ]
    for name, value in rows:
        if value:
            click.echo(f"{name:<10}{value}")


def _next(schedule: Schedule) -> str:
    if schedule.paused:
        return "paused"
    return "never" if schedule.next_at is None else instant(schedule.next_at)


@contextmanager
def _asking(broker_url: str, timeout_s: float) -> Iterator[Resonate]:
    """A client; what is not there, or is taken, is a failure and no wrong usage."""
    resonate = client(broker_url, timeout_s)
    try:
        yield resonate
    except UsageError as error:
        if not isinstance(error, Conflict) and "does not exist" not in str(error):
            raise
        fail(str(error))
        sys.exit(FAILED)
    finally:
        resonate.stop()
