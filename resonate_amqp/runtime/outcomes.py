"""Outcomes: what a body ended with, as it is recorded, and back as a body is given it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from resonate_amqp.core.model import Promise, PromiseState
from resonate_amqp.core.requests import PromiseSettle
from resonate_amqp.errors import NotDurable
from resonate_amqp.runtime.commands import Command
from resonate_amqp.wire.codec import NO_ERRORS, encode, encode_error, result_of
from resonate_amqp.wire.typed import Shape

log = logging.getLogger(__name__)


class Postponed(BaseException):
    """Raised by a body to have no outcome: its task is released, and offered after the delay.

    It is no Exception, so that neither the body's own handlers nor a retry policy catch it.
    """

    def __init__(self, delay_s: float) -> None:
        super().__init__(f"postponed for {delay_s:g} s")
        self.delay_ms = round(delay_s * 1000)


class Final(BaseException):
    """What an executor tells of a leaf that is not to be tried again, whatever its policy.

    `error` is the leaf's outcome.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a body may return: a value, and headers to be recorded with it."""

    value: Any
    headers: Mapping[str, str]


def outcome_of(
    promise: Promise,
    returns: Shape | None = None,
    errors: Mapping[str, type[Exception]] = NO_ERRORS,
) -> tuple[Any, BaseException | None]:
    """The value of a settled promise, or the error to raise in the body that awaits it.

    A value is rebuilt by the shape; an error whose type's name is in `errors` is raised as that.
    """
    try:
        return result_of(promise, returns, errors), None
    except Exception as error:  # every outcome but a value is raised in the body
        return None, error


def verdict_of(
    promise_id: str, value: Any, error: BaseException | None, returns: Shape | None = None
) -> PromiseSettle:
    """The settlement of a body that ended.

    A value that cannot be recorded, or does not fit what the function returns, is an error.
    Raises Postponed, if that is how it ended.
    """
    if isinstance(error, Postponed):
        raise error
    headers: Mapping[str, str] = {}
    if isinstance(value, Outcome):
        value, headers = value.value, value.headers
    if isinstance(value, Command):
        error = NotDurable(f"{promise_id!r} returned command {value.id!r}; yield it instead")
    if error is None and (inspect.isgenerator(value) or inspect.iscoroutine(value)):
        error = _hidden(promise_id, value)
    if error is None:
        try:
            recorded = encode(value, "result", returns)
            if headers:
                recorded = replace(recorded, headers={**recorded.headers, **headers})
            return PromiseSettle(id=promise_id, state=PromiseState.RESOLVED, value=recorded)
        except Exception as refusal:  # a value can be of any kind, and can change meanwhile
            error = refusal
    log.warning("%s failed", promise_id, exc_info=error)
    rejected = encode_error(error)
    return PromiseSettle(id=promise_id, state=PromiseState.REJECTED, value=rejected)


def _hidden(promise_id: str, body: Any) -> NotDurable:
    """Why a body that was made and not run has no outcome."""
    body.close()
    if inspect.isgenerator(body):
        kind, wrapper = "generator", "return (yield from func(*args, **kwargs))"
    else:
        kind, wrapper = "coroutine", "async def, with return await func(*args, **kwargs)"
    return NotDurable(
        f"{promise_id!r} returned the {kind} {body.__qualname__!r}, which nobody runs: a decorator "
        f"hides what its function is. Write the decorator's wrapper as a {kind} function itself "
        f"({wrapper}; functools.wraps alone does not do), or put @register below that decorator"
    )
