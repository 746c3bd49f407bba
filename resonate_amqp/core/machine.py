"""The one dispatch table: which transition answers which request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from resonate_amqp.core import leases, promises, schedules, tasks
from resonate_amqp.core.effects import Overlay
from resonate_amqp.core.reports import PromiseReport
from resonate_amqp.core.requests import (
    Group,
    Mirrored,
    PromiseCreate,
    PromiseGet,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Query,
    Request,
    Response,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskLease,
    TaskRedrive,
    TaskRelease,
    TaskSuspend,
)
from resonate_amqp.core.timers import Timer, fire
from resonate_amqp.core.timetable import (
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
    ScheduleResume,
    ScheduleTrigger,
)


def batch(
    state: Overlay,
    groups: Sequence[Group],
    timers: Sequence[Timer],
    notified: Sequence[tuple[str, str]],
    mirrored: Sequence[Mirrored],
    halts: Sequence[TaskHalt],
    now: int,
    heard_since: int,
) -> tuple[tuple[tuple[Response, ...], ...], list[Timer]]:
    """Run what one transaction records, in order: what was sent, what is due, what was asked.

    Answers each group's responses, and the timers that came too early.
    """
    for promise_id, address in notified:
        state.notified(promise_id, address)
    for one in mirrored:
        promises.mirrored(state, one.id, one.state, one.value, now)
    for halt in halts:
        tasks.halt(state, halt, now)
    early = [fire(state, timer, now, heard_since) for timer in timers]
    answers = tuple(run(state, group, now) for group in groups)
    return answers, [timer for timer in early if timer is not None]


def run(state: Overlay, group: Group, now: int) -> tuple[Response, ...]:
    """Answer a group's requests in order; the first that fails is the last that is answered."""
    responses: list[Response] = []
    for request in group.steps:
        assert not isinstance(request, Query)
        response = transition(state, request, now, group.id)
        responses.append(response)
        if not response.ok:
            break
    return tuple(responses)


def transition(state: Overlay, request: Request, now: int, group: str) -> Response:
    """Answer one request of the group `group` at `now`, writing to the overlay."""
    match request:
        case PromiseGet():
            return promises.get(state, request, now)
        case PromiseCreate():
            return promises.create(state, request, now)
        case PromiseSettle():
            return promises.settle(state, request, now, group)
        case PromiseRegisterCallback():
            return promises.register_callback(state, request, now)
        case PromiseRegisterListener():
            return promises.register_listener(state, request, now)
        case PromiseReport():
            return promises.report(state, request, now, group)
        case TaskGet():
            return tasks.get(state, request, now)
        case TaskCreate():
            return tasks.create(state, request, now)
        case TaskAcquire():
            return leases.acquire(state, request, now)
        case TaskFence():
            return tasks.fence(state, request, now, group)
        case TaskHeartbeat():
            return leases.heartbeat(state, request, now)
        case TaskSuspend():
            return tasks.suspend(state, request, now)
        case TaskFulfill():
            return tasks.fulfill(state, request, now, group)
        case TaskRelease():
            return leases.release(state, request, now)
        case TaskLease():
            return leases.lease(state, request, now)
        case TaskHalt():
            return tasks.halt(state, request, now)
        case TaskContinue():
            return tasks.resume(state, request, now)
        case TaskRedrive():
            return tasks.redrive(state, request, now)
        case ScheduleCreate():
            return schedules.create(state, request, now)
        case ScheduleGet():
            return schedules.get(state, request)
        case ScheduleDelete():
            return schedules.delete(state, request)
        case SchedulePause():
            return schedules.pause(state, request)
        case ScheduleResume():
            return schedules.resume(state, request, now)
        case ScheduleTrigger():
            return schedules.trigger(state, request, now)
        case _:
            assert_never(request)
