"""The requests about schedules; `core.requests` has them together with all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from resonate_amqp.core.model import Value
from resonate_amqp.core.pages import Cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleCreate:
    """Have a call made at every tick of `cron`; an existing schedule takes the definition over."""

    kind: ClassVar[str] = "schedule.create"
    id: str
    cron: str
    param: Value
    tags: Mapping[str, str]
    timeout_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleGet:
    """Read a schedule."""

    kind: ClassVar[str] = "schedule.get"
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleDelete:
    """Make no more calls; what was called goes on."""

    kind: ClassVar[str] = "schedule.delete"
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulePause:
    """Let ticks pass without a call, until it is resumed."""

    kind: ClassVar[str] = "schedule.pause"
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleResume:
    """Make calls again, from the next tick on."""

    kind: ClassVar[str] = "schedule.resume"
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleTrigger:
    """Make one call now, under the id `promise_id`, whatever the cron expression says."""

    kind: ClassVar[str] = "schedule.trigger"
    id: str
    promise_id: str


ScheduleRequest = (
    ScheduleCreate | ScheduleGet | ScheduleDelete | SchedulePause | ScheduleResume | ScheduleTrigger
)


@dataclass(frozen=True, slots=True)
class ScheduleSearch:
    """Every schedule, by id: a query, answered outside the machine."""

    kind: ClassVar[str] = "schedule.search"
    limit: int = 1000
    cursor: Cursor | None = None
