"""Execution: one message of a durable task, from its claim to what Celery is told of it.

The pool's thread claims the task's promise and lends itself until the ledger has an answer. So a
message runs its function at most while its promise is open, and is acknowledged only after the
outcome was recorded.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, assert_never

from celery.exceptions import Reject, SoftTimeLimitExceeded

from resonate_amqp.core.model import Promise, TaskState
from resonate_amqp.errors import Stopped, UsageError
from resonate_amqp.ext.celery import attempts, messages
from resonate_amqp.ext.celery.body import Body, Prepare
from resonate_amqp.ext.celery.claims import (
    Call,
    claim,
    following,
    pause,
    recorded,
    retried,
    settle_others,
)
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
from resonate_amqp.ext.lending import Job, Lent
from resonate_amqp.resonate import Resonate
from resonate_amqp.runtime.claims import (
    Begun,
    Claimed,
    Elsewhere,
    Failed,
    Left,
    Settled,
)
from resonate_amqp.runtime.context import Context
from resonate_amqp.runtime.ending import Ending
from resonate_amqp.runtime.outcomes import Postponed

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 30
ASTRAY_S = 5.0

BODIES = "resonate:celery"
"""The dependency that holds, by promise, the bodies whose threads have lent themselves."""

_lock = threading.Lock()


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
    with refusing():
        _register(call.resonate, call.task.name)
    call = retried(call)
    while True:
        with Lent() as lent:
            body = _body(call, lent, prepare)
            bodies: dict[str, Body] = call.resonate._dependencies.setdefault(BODIES, {})
            if bodies.setdefault(call.promise_id, body) is not body:
                return _elsewhere(call, None)
            try:
                with refusing():
                    claim(
                        call,
                        told=lent.tell,
                        steps=body.steps,
                        target=target,
                        message=message,
                        patient=patient,
                    )
                how = _lend(lent, body)
                other = following(call, how, begun=body.taken > 0)
                if other is None:
                    return _concluded(call, body, how)
            finally:
                del bodies[call.promise_id]
                body.close()
        call = other


@contextmanager
def refusing() -> Iterator[None]:
    """Raise Refused for a UsageError: what is wrong with a message is nothing to be caught."""
    try:
        yield
    except Stopped as error:
        raise PutBack(error) from error
    except UsageError as error:
        raise Refused(error) from error


def _body(call: Call, lent: Lent, prepare: Prepare) -> Body:
    task = call.task if call.bound else None
    begin = partial(call.shape.call, task, args=call.args, kwargs=call.kwargs)
    return Body(call.shape, begin, call.begins, lent, partial(_judged, call), prepare)


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
        # The retry is a promise of its own, and what the last one comes to settles this one.
        return settings.timeout
    return postponed_s(
        call.task, call.request, error, never_s=settings.timeout, lost_s=settings.hold_max
    )


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
            if not body.taken:
                raise PutBack(f"{error!r} came before the task could begin") from error
            log.info("%r is raised in the task's next step", error)
            body.interruption = error
            if job is not None:
                job.fail(error)


def _concluded(call: Call, body: Body, how: Claimed) -> Any:
    match how:
        case Settled(promise):
            settle_others(call, promise)
            # SystemExit is a failure as any other: it is not to end the worker.
            raised = body.raised
            if isinstance(raised, Exception | KeyboardInterrupt) and is_outcome(raised, promise):
                raise raised
            return value_of(promise)
        case Left(Ending.RELEASED) if body.raised is not None:
            if isinstance(body.raised, Reject):
                pause(call)
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
        case Failed(UsageError() as error):
            log.error("task %s[%s] is not executed: %s", call.task.name, call.request.id, error)
            raise Refused(error)
        case Failed(error):
            log.error("task %s[%s] goes back: %s", call.task.name, call.request.id, error)
            pause(call)
            raise PutBack(error)
        case Begun():
            raise AssertionError("a claim does not end by its begin")
        case _:
            assert_never(how)


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
    promise = recorded(call)
    if promise is None:
        pause(call)
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
        pause(call)
        raise PutBack(error) from error
    log.info(
        "task %s[%s] is another call of promise %s; it asks again in %d s",
        call.task.name,
        request.id,
        promise.id,
        countdown,
    )
