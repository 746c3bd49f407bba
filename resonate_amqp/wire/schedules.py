"""Schedules and the requests about them: to JSON and from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_never

from resonate_amqp.core.model import TARGET, Schedule
from resonate_amqp.core.timetable import (
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
    ScheduleRequest,
    ScheduleResume,
    ScheduleSearch,
    ScheduleTrigger,
)
from resonate_amqp.errors import InvalidId, InvalidTarget, Malformed, UsageError
from resonate_amqp.wire.address import canonical, check_root_id, check_schedule_id
from resonate_amqp.wire.cron import check_cron
from resonate_amqp.wire.fields import MAX_NAMES, Fields, read_value, write_value
from resonate_amqp.wire.foreign import read_param
from resonate_amqp.wire.pages import read_cursor, read_limit, write_page

OWN_TAGS = 4
"""How many tags each call gets beside those of its schedule."""


def write_schedule(schedule: Schedule) -> dict[str, Any]:
    """The schedule's record."""
    record: dict[str, Any] = {
        "id": schedule.id,
        "cron": schedule.cron,
        "promiseTimeout": schedule.timeout_ms,
        "promiseParam": write_value(schedule.param),
        "promiseTags": dict(schedule.tags),
        "createdAt": schedule.created_at,
        "paused": schedule.paused,
    }
    if schedule.next_at is not None:
        record["nextRunAt"] = schedule.next_at
    if schedule.last_at is not None:
        record["lastRunAt"] = schedule.last_at
    return record


def read_schedule(record: dict[str, Any]) -> Schedule:
    """The schedule a ledger's record holds."""
    return Schedule(
        id=record["id"],
        cron=record["cron"],
        param=read_value(record["promiseParam"]),
        tags=record["promiseTags"],
        timeout_ms=record["promiseTimeout"],
        created_at=record["createdAt"],
        next_at=record.get("nextRunAt"),
        last_at=record.get("lastRunAt"),
        paused=record["paused"],
    )


def write_schedule_request(request: ScheduleRequest | ScheduleSearch) -> dict[str, Any]:
    """What the request says, without its kind."""
    match request:
        case ScheduleCreate():
            return {
                "id": request.id,
                "cron": request.cron,
                "promiseTimeout": request.timeout_ms,
                "promiseParam": write_value(request.param),
                "promiseTags": dict(request.tags),
            }
        case ScheduleTrigger(id=id, promise_id=promise_id):
            return {"id": id, "promise": promise_id}
        case ScheduleSearch():
            return write_page(request)
        case ScheduleGet() | ScheduleDelete() | SchedulePause() | ScheduleResume():
            return {"id": request.id}
        case _:
            assert_never(request)


def _id(fields: Fields, name: str, check: Callable[[str], str]) -> str:
    try:
        return check(fields.text(name))
    except InvalidId as error:
        raise Malformed(fields.path(name), str(error)) from None


def _schedule_id(fields: Fields) -> str:
    return _id(fields, "id", check_schedule_id)


def _create(fields: Fields) -> ScheduleCreate:
    schedule_id, written = _schedule_id(fields), fields.text("cron")
    tags = _tags(fields)
    try:
        cron = check_cron(written)
    except UsageError as error:
        raise Malformed(fields.path("cron"), str(error)) from None
    return ScheduleCreate(
        id=schedule_id,
        cron=cron,
        param=read_param(fields, "promiseParam", tags[TARGET]),
        tags=tags,
        timeout_ms=fields.positive("promiseTimeout"),
    )


def _tags(fields: Fields) -> dict[str, str]:
    tags = fields.texts("promiseTags")
    path = fields.path("promiseTags")
    if len(tags) > MAX_NAMES - OWN_TAGS:
        raise Malformed(path, f"{len(tags)} are too many; {MAX_NAMES - OWN_TAGS} at most")
    try:
        return tags | {TARGET: canonical(tags[TARGET])}
    except KeyError:
        raise Malformed(path, f"{TARGET} is missing: where the calls go") from None
    except InvalidTarget as error:
        raise Malformed(path, str(error)) from None


def _trigger(fields: Fields) -> ScheduleTrigger:
    return ScheduleTrigger(
        id=_schedule_id(fields), promise_id=_id(fields, "promise", check_root_id)
    )


READERS: dict[str, Callable[[Fields], ScheduleRequest | ScheduleSearch]] = {
    ScheduleCreate.kind: _create,
    ScheduleGet.kind: lambda fields: ScheduleGet(id=_schedule_id(fields)),
    ScheduleDelete.kind: lambda fields: ScheduleDelete(id=_schedule_id(fields)),
    SchedulePause.kind: lambda fields: SchedulePause(id=_schedule_id(fields)),
    ScheduleResume.kind: lambda fields: ScheduleResume(id=_schedule_id(fields)),
    ScheduleTrigger.kind: _trigger,
    ScheduleSearch.kind: lambda fields: ScheduleSearch(
        limit=read_limit(fields, None), cursor=read_cursor(fields)
    ),
}
