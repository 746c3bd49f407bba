"""Outcomes: what is recorded of a task, as Celery is to see it, and why a task leaves without one.

A task that leaves without an outcome leaves by Ignore: Celery acknowledges its message, stores
nothing, and whoever waits for its result goes on waiting. Ignore is an Exception, which decorators
and task classes of a shop may catch, so it is raised as Leaving until it has passed them.
"""

from __future__ import annotations

import sys
from typing import Any

import billiard.common
from celery.exceptions import Ignore, Reject, WorkerShutdown, WorkerTerminate

from resonate_amqp.core.model import Promise, PromiseState
from resonate_amqp.errors import Encoding, RemoteError
from resonate_amqp.ext.plain import rebuild
from resonate_amqp.wire.codec import decode, error_of
from resonate_amqp.wire.failures import type_name
from resonate_amqp.wire.traces import trace_of


class Suspended(Ignore):
    """The task waits for others, in no slot; the ledger sends its message again."""


class UnderWay(Ignore):
    """The task is executed, or waits, elsewhere."""


class Halted(Ignore):
    """The task was halted; it goes on when an operator resumes it."""


class PutBack(Reject):
    """The message is to be offered again: nothing could be found out of its promise."""

    def __init__(self, reason: object) -> None:
        super().__init__(reason, requeue=True)


WITHOUT_OUTCOME = (Suspended, UnderWay, Halted, PutBack)


class Leaving(BaseException):
    """A task leaves without an outcome; `told` is what Celery is to be told, once it may be."""

    def __init__(self, told: Exception) -> None:
        super().__init__(str(told))
        self.told = told


class Refused(BaseException):
    """A message cannot be executed; its task fails with `error`, whatever decorators do."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def value_of(promise: Promise) -> Any:
    """The recorded result, with Kombu's own types; raises the recorded error as its own type."""
    if promise.state is PromiseState.RESOLVED:
        return rebuild(decode(promise.value), "result")
    raise error_of(promise, _imported(promise))


def is_outcome(error: BaseException | None, promise: Promise) -> bool:
    """Whether a promise was rejected with this very error, as far as its record tells."""
    if error is None or promise.state is not PromiseState.REJECTED:
        return False
    return promise.value.headers.get("error") == type_name(type(error))


def ends_the_process(error: BaseException) -> bool:
    """Whether what is no Exception was raised to end a worker's process, and not by its task."""
    # Earlier releases of billiard do not tell.
    told = getattr(billiard.common, "terminate_handler_fired", lambda: True)
    return isinstance(error, WorkerShutdown | WorkerTerminate) or bool(told())


def recordable(error: BaseException) -> RemoteError:
    """What is no Exception, such as SystemExit, as the runtime can record it."""
    return RemoteError(str(error), type_name(type(error)), trace_of(error))


def _imported(promise: Promise) -> dict[str, type[Exception]]:
    """The type an error was recorded as, if this process has imported it."""
    try:
        record = decode(promise.value)
    except Encoding:
        return {}
    name = record.get("type") if isinstance(record, dict) else None
    if not isinstance(name, str):
        return {}
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        found: Any = sys.modules.get(".".join(parts[:cut]))
        if found is None:
            continue
        for part in parts[cut:]:
            found = getattr(found, part, None)
        if isinstance(found, type) and issubclass(found, Exception):
            return {name: found}
    return {}
