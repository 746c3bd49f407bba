"""Execution: one message of a durable task, from its claim to what Celery is told of it.

The pool's thread claims the task's promise and lends itself until the ledger has an answer. So a
message runs its function at most while its promise is open, and is acknowledged only after the
outcome was recorded.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, assert_never

from celery import Task
from celery.app.task import Context as Request
from celery.exceptions import Reject, SoftTimeLimitExceeded

from resonate_amqp.core.model import Promise, TaskState
from resonate_amqp.errors import (
    BrokerError,
    Conflict,
    LedgerError,
    ResonateError,
    Stopped,
    UsageError,
)
from resonate_amqp.ext.celery import attempts, messages
from resonate_amqp.ext.celery.body import Body, Prepare
from resonate_amqp.ext.celery.outcomes import (
    Halted,
    PutBack,
    Refused,
    Suspended,
    UnderWay,
    is_outcome,
    value_of,
)
from resonate_amqp.ext.celery.retries import postponed_s
from resonate_amqp.ext.celery.shapes import Shape
from resonate_amqp.ext.lending import Job, Lent
from resonate_amqp.ext.pauses import Pauses
from resonate_amqp.resonate import Resonate
from resonate_amqp.runtime.claims import (
    Begun,
    Claimed,
    Elsewhere,
    Failed,
    Left,
    OtherService,
    Settled,
)
from resonate_amqp.runtime.context import Context
from resonate_amqp.runtime.ending import Ending
from resonate_amqp.runtime.outcomes import Postponed
from resonate_amqp.wire.tags import MESSAGE_ID

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 30
ASTRAY_S = 5.0

BODIES = "resonate:celery"
"""The dependency that holds, by promise, the bodies whose threads have lent themselves."""

PAUSES = "resonate:pauses"
"""The dependency that knows how long each message is held before it goes back."""

_lock = threading.Lock()


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
    """Tells the group, where the promise's id says nothing of what other groups do with copies."""


def body_of(ctx: Context, promise_id: str) -> Body | None:
    """The body of a promise that a thread of this process runs, if one does."""
    bodies: dict[str, Body] = ctx.get_dependency(BODIES, {})
    return bodies.get(promise_id)


async def entry(ctx: Context, /, *_args: Any, **_kwargs: Any) -> Any:
    """What every durable task is registered as: it runs the body of the thread that claimed it."""
    body = body_of(ctx, ctx.id)
    if body is None:
        log.error("%s was offered to a process that had not claimed it", ctx.id)
        raise Postponed(ASTRAY_S)
    return await body.run(ctx)


def execute(
    call: Call, *, target: str, message: dict[str, Any] | None, patient: bool, prepare: Prepare
) -> Any:
    """What a durable task comes to, for Celery to go on with: its recorded value or error.

    Raises Ignore when it has no outcome yet, and what the task's function raised when that is no
    outcome either: Retry, Ignore, Reject.
    """
    _register(call.resonate, call.task.name)
    call = _retried(call)
    while True:
        following = None
        with Lent() as lent:
            body = _body(call, lent, prepare)
            bodies: dict[str, Body] = call.resonate._dependencies.setdefault(BODIES, {})
            if bodies.setdefault(call.promise_id, body) is not body:
                return _elsewhere(call, None)
            try:
                _claim(call, body, target=target, message=message, patient=patient)
                how = _lend(lent, body)
                following = _following(call, body, how)
                if following is None:
                    return _concluded(call, body, how)
            finally:
                del bodies[call.promise_id]
                body.close()
        call = replace(call, promise_id=following)


def _body(call: Call, lent: Lent, prepare: Prepare) -> Body:
    task = call.task if call.bound else None
    begin = partial(call.shape.call, task, args=call.args, kwargs=call.kwargs)
    return Body(call.shape, begin, call.begins, lent, partial(_judged, call), prepare)


def _claim(
    call: Call, body: Body, *, target: str, message: dict[str, Any] | None, patient: bool
) -> None:
    name, request = call.task.name, call.request
    call.resonate.claim(
        call.promise_id,
        name,
        tuple(call.asked[0]),
        call.asked[1],
        told=body.lent.tell,
        target=target,
        redelivered=_again(request),
        patient=patient,
        message=message,
        tags={}
        if request.id == call.promise_id
        else {MESSAGE_ID: str(request.id).replace("\0", "%00")},
        noted=attempts.noted(call.promise_id, request, attempts.content_of(name, call.asked))
        | call.service,
        steps=body.steps,
    )


def _following(call: Call, body: Body, how: Claimed) -> str | None:
    """The promise that the message asks for instead of the one it has claimed, if it does."""
    is_retry = attempts.original_of(call.promise_id)
    match how:
        case Settled(promise) if not body.taken:
            following = attempts.next_id(promise, call.request)
            if following is None:
                log.info(
                    "task %s[%s] is not executed: promise %s is %s already",
                    call.task.name,
                    call.request.id,
                    promise.id,
                    promise.state,
                )
            return following
        case Failed(OtherService()):
            return f"{call.promise_id}.{call.resonate.settings.group}"
        case Failed(Conflict()) if call.request.retries and not is_retry:
            return attempts.retried_id(call.promise_id, call.task.name, call.asked)
    return None


def _retried(call: Call) -> Call:
    """The call itself; or that of a retry with other arguments than a durable caller gave it."""
    if not call.request.retries or attempts.original_of(call.promise_id):
        return call
    if not messages.names_promise(call.request):
        return call
    promise = _recorded(call)
    if promise is None or not attempts.asks_otherwise(promise, call.task.name, call.asked):
        return call
    return replace(
        call, promise_id=attempts.retried_id(call.promise_id, call.task.name, call.asked)
    )


def _recorded(call: Call) -> Promise | None:
    """The promise as it stands; None when there is none."""
    try:
        return call.resonate.promises.get(call.promise_id)
    except UsageError:
        return None
    except ResonateError as error:
        _pause(call)
        raise PutBack(f"the ledger did not tell of {call.promise_id!r}: {error}") from error


def _register(resonate: Resonate, name: str) -> None:
    with _lock:
        # A local function that is interrupted by it ends with it, and so it does on replay.
        resonate.registry.register_error(SoftTimeLimitExceeded)
        found = resonate.registry.find(name)
        if found is None:
            resonate.registry.register(entry, name=name)
        elif found.func is not entry:
            raise UsageError(
                f"function {name!r} is registered already, and is no Celery task; give one of "
                "them another name"
            )


def _judged(call: Call, error: Exception) -> float | None:
    """For how long an error that is no outcome postpones the task; None for one that is."""
    settings = call.resonate.settings
    if attempts.retries_with_others(call.request, error):
        # The retry is a promise of its own, which settles the first one.
        return None if attempts.original_of(call.promise_id) else settings.timeout
    return postponed_s(
        call.task, call.request, error, never_s=settings.timeout, lost_s=settings.hold_max
    )


def _again(request: Request) -> bool:
    """Whether a lease that is met may be that of a process which is gone."""
    return bool((request.delivery_info or {}).get("redelivered")) or request.retries > 0


def _lend(lent: Lent, body: Body) -> Settled | Left | Elsewhere | Failed:
    """Do what the body asks for until it is known how the claim ends."""
    while True:
        job: Job | None = None
        try:
            what = lent.next()
            if isinstance(what, Job):
                job = what
                job.run()
            elif isinstance(what, Begun):
                body.taken = what.version
            elif what is not None:
                return what
        except Exception as error:
            # A signal's handler (the soft time limit) raised it between two steps.
            log.info("%r is raised in the task's next step", error)
            body.interruption = error
            if job is not None:
                job.fail(error)


def _concluded(call: Call, body: Body, how: Claimed) -> Any:
    match how:
        case Settled(promise):
            _settle_original(call, promise)
            # SystemExit is a failure as any other: it is not to end the worker.
            raised = body.raised
            if isinstance(raised, Exception | KeyboardInterrupt) and is_outcome(raised, promise):
                raise raised
            return value_of(promise)
        case Left(Ending.RELEASED) if body.raised is not None:
            if isinstance(body.raised, Reject):
                _pause(call)
            raise body.raised
        case Left(Ending.SUSPENDED):
            return _waits(call, Suspended, "waits for what it called")
        case Left(Ending.HALTED):
            return _halted(call)
        case Left():
            return _elsewhere(call, None)
        case Elsewhere(task):
            return _elsewhere(call, task.state)
        case Failed(Stopped()):
            raise PutBack("the process stops")
        case Failed(BrokerError() | LedgerError() as error):
            log.error("task %s[%s] goes back: %s", call.task.name, call.request.id, error)
            _pause(call)
            raise PutBack(error)
        case Failed(error):
            log.error("task %s[%s] is not executed: %s", call.task.name, call.request.id, error)
            raise Refused(error)
        case Begun():
            raise AssertionError("a claim does not end by its begin")
        case _:
            assert_never(how)


def _settle_original(call: Call, promise: Promise) -> None:
    """What a retry with other arguments came to is the outcome of the task's own promise too."""
    original = attempts.original_of(promise.id)
    if not original or attempts.is_retried(promise):
        return
    try:
        call.resonate.promises.repeat(original, promise)
    except UsageError as refused:  # it is settled, or was never made
        log.info("%s", refused)
    except ResonateError as error:
        _pause(call)
        raise PutBack(f"{original!r} is not settled yet: {error}") from error


def _pause(call: Call) -> None:
    """Hold a message that is about to go back to its queue, each time for longer."""
    pauses: Pauses = call.resonate._dependencies.setdefault(PAUSES, Pauses())
    with suppress(Exception):  # the soft time limit may end it
        time.sleep(pauses.next(call.promise_id))


def _elsewhere(call: Call, state: TaskState | None) -> Any:
    if state is TaskState.HALTED:
        return _halted(call)
    return _waits(call, UnderWay, f"is {state or 'under way'} elsewhere")


def _halted(call: Call) -> Any:
    log.error(
        "task %s is halted; see why: celery resonate tasks get %s", call.task.name, call.promise_id
    )
    raise Halted(f"promise {call.promise_id!r} is halted")


def _waits(call: Call, kind: type[Exception], how: str) -> Any:
    """Leave without an outcome; or with it, if there is one by now.

    The ledger sends the message it recorded. Whoever sent another one gets the result by that
    one, which is sent again until there is a result.
    """
    promise = _recorded(call)
    if promise is None:
        _pause(call)
        raise PutBack(f"{call.promise_id!r} is not recorded any more")
    if not promise.pending:
        return value_of(promise)
    if not messages.came_by(promise, call.request) and _is_awaited(call):
        _send_again(call, promise)
    raise kind(f"promise {call.promise_id!r} {how}")


def _is_awaited(call: Call) -> bool:
    """Whether anybody would notice that a message had no result."""
    request = call.request
    follow = (request.callbacks, request.errbacks, request.chain, request.chord, request.group)
    return not request.ignore_result or any(follow)


def _send_again(call: Call, promise: Promise) -> None:
    request = call.request
    headers = dict(request.headers or {})
    waits = int(headers.get(messages.WAITS_HEADER, 0)) + 1
    headers = messages.custom_headers(request) | {
        messages.WAITS_HEADER: waits,
        messages.ID_HEADER: promise.id,
    }
    countdown = min(2 ** (waits - 1), LONGEST_WAIT_S)
    signature = call.task.signature_from_request(
        request, countdown=countdown, retries=request.retries, headers=headers
    )
    try:
        signature.apply_async()
    except Exception as error:
        _pause(call)
        raise PutBack(error) from error
    log.info(
        "task %s[%s] is another call of promise %s; it asks again in %d s",
        call.task.name,
        request.id,
        promise.id,
        countdown,
    )
