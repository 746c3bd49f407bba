"""What commands print, and with which code they exit."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from resonate_amqp.core.model import Promise, Task
from resonate_amqp.errors import (
    BrokerError,
    Encoding,
    LedgerError,
    LedgerUnavailable,
    RemoteError,
    ResonateError,
    SchemaError,
    TimedOut,
    UsageError,
)
from resonate_amqp.operate.tree import lasting
from resonate_amqp.wire.codec import decode
from resonate_amqp.wire.records import write_promise, write_task

T = TypeVar("T")

OK, FAILED, USAGE, REJECTED, TIMEOUT, UNREACHABLE = 0, 1, 2, 3, 4, 69


def exit_code_of(error: BaseException) -> int | None:
    """The exit code an error stands for; None for a defect of ours."""
    if isinstance(error.__cause__, RemoteError):
        return REJECTED
    match error:
        case TimedOut() | TimeoutError():
            return TIMEOUT
        case RemoteError():
            return REJECTED
        case SchemaError():
            return FAILED
        case UsageError():
            return USAGE
        case BrokerError() | LedgerUnavailable() | LedgerError():
            return UNREACHABLE
        case ResonateError():
            return FAILED
        case _:
            return None


def text_of(error: BaseException) -> str:
    """What is said of an error; one that was raised elsewhere with its type and its lines."""
    told = error.__cause__ if isinstance(error.__cause__, RemoteError) else error
    return "\n".join([str(told), *getattr(told, "__notes__", ())])


def fail(text: str) -> None:
    """Print an error to standard error."""
    click.echo(f"error: {text}", err=True)


def cut(found: Sequence[T], limit: int) -> Sequence[T]:
    """The first `limit` of what was found, where one more was asked for; says if there are more."""
    if len(found) > limit:
        click.echo(f"there are more than these {limit}: --limit N shows more", err=True)
    return found[:limit]


def show_json(value: Any) -> None:
    """Print a value as indented JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def show_promise(promise: Promise, task: Task | None, *, as_json: bool) -> None:
    """The record; its values decoded, if they can be; and its task while it is pending."""
    if as_json:
        more = {"decoded": _decoded(promise), "task": write_task(task) if task else None}
        show_json(write_promise(promise) | more)
        return
    age = lasting(time.time_ns() // 1_000_000 - promise.created_at)
    rows = [
        ("id", promise.id),
        ("state", promise.state.value + (f" for {age}" if promise.pending else "")),
        ("function", promise.param.headers.get("func", "")),
        ("target", promise.target),
        ("task", _task(task)),
        ("value", json.dumps(_decoded(promise), ensure_ascii=False) if promise.value.data else ""),
        ("created", instant(promise.created_at)),
        ("deadline", instant(promise.timeout_at)),
        ("settled", instant(promise.settled_at) if promise.settled_at is not None else ""),
    ]
    for name, value in rows:
        if value:
            click.echo(f"{name:<10}{value}")


def _task(task: Task | None) -> str:
    if task is None:
        return ""
    held = f" by {task.pid}" if task.pid else ""
    return f"{task.state.value}{held}{f': {task.reason}' if task.reason else ''}"


def _decoded(promise: Promise) -> Any:
    try:
        return decode(promise.value)
    except Encoding:
        return None


def instant(milliseconds: int) -> str:
    """An instant in UTC; the number itself where no calendar reaches."""
    try:
        at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(milliseconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
