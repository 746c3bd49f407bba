"""Claims: which promise a task's message stands for, and those that its outcome settles too.

A message claims one promise after another until one is its own: that of the task, that of a later
attempt, that of its group's copy, or that of a retry with other arguments.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from celery import Task
from celery.app.task import Context as Request

from resonate_amqp.core.model import Promise
from resonate_amqp.errors import Conflict, ResonateError, Stopped, UsageError
from resonate_amqp.ext.celery import attempts, messages
from resonate_amqp.ext.celery.outcomes import PutBack
from resonate_amqp.ext.celery.shapes import Shape
from resonate_amqp.ext.content import tag_of
from resonate_amqp.ext.deliveries import returned
from resonate_amqp.ext.pauses import Pauses
from resonate_amqp.resonate import Resonate
from resonate_amqp.runtime.claims import Claimed, Failed, OtherService, Settled
from resonate_amqp.runtime.locally import LocalSteps
from resonate_amqp.wire.tags import MESSAGE_ID

log = logging.getLogger(__name__)

PAUSES = "resonate:pauses"
"""The dependency that knows how long each message is held before it goes back."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a message asks for: a promise's function, and the arguments it is run with.

    `asked` are the message's own arguments, plain: they are recorded, whatever decorators made of
    them for the function. `begins` is called before the function's first step, with how often the
    promise's task was taken by somebody.
    """

    resonate: Resonate
    task: Task
    request: Request
    shape: Shape
    promise_id: str
    bound: bool
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    asked: tuple[list[Any], dict[str, Any]]
    begins: Callable[[int], None]
    service: dict[str, str] = field(default_factory=dict)
    """The group, noted beside the promise, where several groups may get copies of one message."""
    original: str = ""
    """The promise the task began with, when this is a retry with other arguments."""


def claim(
    call: Call,
    *,
    told: Callable[[Claimed], None],
    steps: LocalSteps,
    target: str,
    message: dict[str, Any] | None,
    patient: bool,
) -> None:
    """Claim the promise of a call; `told` hears of it. Raises UsageError for one that cannot be."""
    name, request = call.task.name, call.request
    if message is not None and call.original:
        headers = message["headers"] | {messages.RETRY_HEADER: call.original}
        message = message | {"headers": headers}
    call.resonate.claim(
        call.promise_id,
        name,
        tuple(call.asked[0]),
        call.asked[1],
        told=told,
        target=target,
        redelivered=_again(request),
        patient=patient,
        message=message,
        tags=_tags(call),
        noted=attempts.noted(
            call.promise_id, request, attempts.content_of(name, call.asked), call.original
        )
        | call.service,
        steps=steps,
    )


def _tags(call: Call) -> dict[str, str]:
    """What the promise of a message is found by, beside its id."""
    tags = {}
    if call.request.id != call.promise_id:
        tags[MESSAGE_ID] = tag_of(str(call.request.id))
    if call.original:
        tags[attempts.RETRY_OF] = call.original
    return tags


def _again(request: Request) -> bool:
    """Whether a lease that is met may be that of a process which is gone."""
    return bool((request.delivery_info or {}).get("redelivered")) or request.retries > 0


def following(call: Call, how: Claimed, *, begun: bool) -> Call | None:
    """The call that the message stands for instead of the one it has claimed, if it does."""
    match how:
        case Settled(promise) if not begun:
            if following := attempts.next_id(promise, call.request):
                return replace(call, promise_id=following)
            log.info(
                "task %s[%s] is not executed: promise %s is %s already",
                call.task.name,
                call.request.id,
                promise.id,
                promise.state,
            )
        case Failed(OtherService()):
            return replace(call, promise_id=f"{call.promise_id}.{call.resonate.settings.group}")
        case Failed(Conflict()) if call.request.retries:
            retry = _as_retry(call)
            return None if retry.promise_id == call.promise_id else retry
    return None


def _as_retry(call: Call) -> Call:
    """The call as a retry with other arguments than the task began with."""
    original = call.original or call.promise_id
    retried = attempts.retried_id(original, call.task.name, call.asked)
    return replace(call, promise_id=retried, original=original)


def retried(call: Call) -> Call:
    """The call itself; or that of a retry with other arguments than a durable caller gave it."""
    if not (call.request.retries and messages.names_promise(call.request)):
        return call
    promise = recorded(call)
    if promise is None or not attempts.asks_otherwise(promise, call.task.name, call.asked):
        return call
    return _as_retry(call)


def recorded(call: Call) -> Promise | None:
    """The promise as it stands; None when there is none."""
    try:
        return call.resonate.promises.get(call.promise_id)
    except Stopped as error:
        raise PutBack("the process stops") from error
    except UsageError:
        return None
    except ResonateError as error:
        pause(call)
        raise PutBack(f"the ledger did not tell of {call.promise_id!r}: {error}") from error


def settle_others(call: Call, promise: Promise) -> None:
    """What a task came to that was retried with other arguments is the outcome of each of them."""
    if not call.request.retries:
        return
    first, promises = call.original or promise.id, call.resonate.promises
    try:
        found = promises.search(attempts.RETRY_OF, first)
        open_ids = [one.id for one in found if one.pending and one.id != promise.id]
        for open_id in [*open_ids, first] if first != promise.id else open_ids:
            try:
                promises.repeat(open_id, promise)
            except UsageError as refused:  # it is settled, or was never made
                log.info("%s", refused)
    except ResonateError as error:
        pause(call)
        raise PutBack(f"retries of {first!r} are not settled yet: {error}") from error


def pause(call: Call) -> None:
    """Hold a message that is about to go back to its queue, each time for longer."""
    pauses: Pauses = call.resonate._dependencies.setdefault(PAUSES, Pauses())
    with suppress(Exception):  # the soft time limit may end it
        time.sleep(pauses.next(call.promise_id, returned(call.request.headers or {})))
