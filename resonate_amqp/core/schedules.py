"""Transitions of schedules: create, get, delete, pause, resume, trigger; and what a tick does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from resonate_amqp.core import promises
from resonate_amqp.core.effects import Overlay
from resonate_amqp.core.model import (
    BRANCH,
    DELAY,
    MIRROR,
    ORIGIN,
    PARENT,
    SCHEDULE,
    SCOPE,
    TARGET,
    TIMER,
    Schedule,
    shard_of,
)
from resonate_amqp.core.requests import PromiseCreate, Response
from resonate_amqp.core.timetable import (
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
    ScheduleResume,
    ScheduleTrigger,
)

MOST_AT_ONCE = 100
OF_ONE_CALL = frozenset({TIMER, DELAY, BRANCH, MIRROR})
"""Tags that say something of one promise and cannot be those of every call."""


def create(state: Overlay, request: ScheduleCreate, now: int) -> Response:
    """Create a schedule; an existing one takes a new definition over and stays paused.

    Its past is kept; its next tick is counted from now on when the cron expression is another.
    """
    refusal = _refuse(request) or state.limits.refuses(request.tags[TARGET])
    if refusal:
        return Response(status=400, error=refusal)
    existing = state.schedule(request.id)
    if existing is not None and existing.cron == request.cron:
        next_at = existing.next_at
    else:
        next_at = state.view.next_tick(request.cron, now)
        if next_at is None:
            error = f"schedule {request.id!r}: the cron expression {request.cron!r} has no tick"
            return Response(status=400, error=error)
    schedule = Schedule(
        id=request.id,
        cron=request.cron,
        param=request.param,
        tags=request.tags,
        timeout_ms=request.timeout_ms,
        created_at=now if existing is None else existing.created_at,
        next_at=next_at,
        last_at=None if existing is None else existing.last_at,
        paused=existing is not None and existing.paused,
    )
    if schedule != existing:
        state.put_schedule(schedule)
    return Response(status=200, schedule=schedule)


def get(state: Overlay, request: ScheduleGet) -> Response:
    """The schedule as it stands; 404 when there is none."""
    schedule = state.schedule(request.id)
    return _absent(request.id) if schedule is None else Response(status=200, schedule=schedule)


def delete(state: Overlay, request: ScheduleDelete) -> Response:
    """Forget the schedule; the answer has it, unless it was not there."""
    schedule = state.schedule(request.id)
    if schedule is not None:
        state.schedules[request.id] = None
    return Response(status=200, schedule=schedule)


def pause(state: Overlay, request: SchedulePause) -> Response:
    """Let ticks pass unheeded, those included that are due and have not been fired."""
    schedule = state.schedule(request.id)
    if schedule is None:
        return _absent(request.id)
    if not schedule.paused:
        schedule = replace(schedule, paused=True)
        state.put_schedule(schedule)
    return Response(status=200, schedule=schedule)


def resume(state: Overlay, request: ScheduleResume, now: int) -> Response:
    """Go on with the next tick; what passed while it was paused is not made up for."""
    schedule = state.schedule(request.id)
    if schedule is None:
        return _absent(request.id)
    if schedule.paused:
        next_at = state.view.next_tick(schedule.cron, now)
        schedule = replace(schedule, paused=False, next_at=next_at)
        state.put_schedule(schedule)
    return Response(status=200, schedule=schedule)


def trigger(state: Overlay, request: ScheduleTrigger, now: int) -> Response:
    """Make one call now, paused or not; asked again under the same id it is the same call."""
    if shard_of(request.promise_id) != shard_of(request.id):
        error = (
            f"id {request.promise_id!r} is not one of schedule {request.id!r}: write "
            f"{request.id}., 15 characters and Z"
        )
        return Response(status=400, error=error)
    schedule = state.schedule(request.id)
    existing = promises.live(state, request.promise_id, now)
    if existing is not None:
        if existing.tags.get(SCHEDULE) != request.id:
            error = (
                f"id {request.promise_id!r} is taken by a promise that schedule {request.id!r} "
                "did not make; use an id of its own for each call"
            )
            return Response(status=409, promise=existing, schedule=schedule, error=error)
        task = state.task(existing.id)
        return Response(status=200, promise=existing, task=task, schedule=schedule)
    if schedule is None:
        return _absent(request.id)
    return replace(_call(state, schedule, request.promise_id, now), schedule=schedule)


def fire(state: Overlay, schedule_id: str, now: int) -> int | None:
    """Make the call of every tick that has come, MOST_AT_ONCE of them at most.

    Answers when to look again if none has come yet. The rest of those that have come is due at
    once, by the timer of the schedule that is written.
    """
    schedule = state.schedule(schedule_id)
    if schedule is None or schedule.paused or schedule.next_at is None:
        return None
    if schedule.next_at > now:
        return schedule.next_at
    tick: int | None = schedule.next_at
    last_at = schedule.last_at
    for _ in range(MOST_AT_ONCE):
        if tick is None or tick > now:
            break
        _call(state, schedule, tick_id(schedule_id, tick), now)
        last_at, tick = tick, state.view.next_tick(schedule.cron, tick)
    state.put_schedule(replace(schedule, next_at=tick, last_at=last_at))
    return None


def tick_id(schedule_id: str, tick: int) -> str:
    """The id of the call of a tick: ticks are whole seconds, so no two have the same."""
    return f"{schedule_id}.{datetime.fromtimestamp(tick // 1000, UTC):%Y%m%dT%H%M%SZ}"


def _call(state: Overlay, schedule: Schedule, promise_id: str, now: int) -> Response:
    own = {ORIGIN: promise_id, PARENT: promise_id, SCOPE: "global", SCHEDULE: schedule.id}
    action = PromiseCreate(
        id=promise_id,
        timeout_at=now + schedule.timeout_ms,
        param=schedule.param,
        tags={**schedule.tags, **own},
    )
    return promises.create(state, action, now)


def _refuse(request: ScheduleCreate) -> str:
    if not request.tags.get(TARGET):
        return f"schedule {request.id!r} has no target"
    wrong = sorted(OF_ONE_CALL & set(request.tags))
    if wrong:
        return f"schedule {request.id!r}: the tag {wrong[0]} cannot be that of every call"
    if request.timeout_ms < 1:
        return f"schedule {request.id!r}: its calls have no time to be made"
    return ""


def _absent(schedule_id: str) -> Response:
    return Response(status=404, error=f"schedule {schedule_id!r} does not exist")
