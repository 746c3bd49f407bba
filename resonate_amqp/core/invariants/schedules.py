"""Properties of schedules: of one as it stands, and of what a transition may have done to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from resonate_amqp.core.model import TARGET, TIMER, Promise, Schedule
from resonate_amqp.core.schedules import tick_id

OF_SCHEDULE: Mapping[str, Callable[[Schedule], bool]] = {
    "well_formed_schedule_promise_tags_not_timer_targeted": lambda s: TIMER not in s.tags,
    "well_formed_schedule_created_at_lte_next_run_at": lambda s: (
        s.next_at is None or s.created_at <= s.next_at
    ),
    "well_formed_schedule_created_at_lte_last_run_at": lambda s: (
        s.last_at is None or s.created_at <= s.last_at
    ),
    "well_formed_schedule_last_run_at_lt_next_run_at": lambda s: (
        s.last_at is None or s.next_at is None or s.last_at < s.next_at
    ),
    "well_formed_schedule_has_target": lambda s: s.tags.get(TARGET, "") != "",
}

OF_SCHEDULE_STEP: Mapping[str, Callable[[Schedule, Schedule, int], bool]] = {
    "preserved_schedule_created_at": lambda b, a, _: a.created_at == b.created_at,
    "monotone_schedule_last_run_at": lambda b, a, now: (
        (b.last_at or 0) <= (a.last_at or 0) <= max(now, b.last_at or 0)
    ),
    "consistent_schedule_passes_no_tick_unfired": lambda b, a, _: (
        a.cron != b.cron
        or b.paused
        or b.next_at == a.next_at
        or (a.last_at is not None and b.next_at is not None and b.next_at <= a.last_at)
    ),
}


def check_schedules(schedules: Mapping[str, Schedule]) -> list[str]:
    """The violations, each `property: id`."""
    return [
        f"{name}: {schedule.id}"
        for schedule in schedules.values()
        for name, holds in OF_SCHEDULE.items()
        if not holds(schedule)
    ]


def check_schedules_step(
    before: Mapping[str, Schedule], after: Mapping[str, Schedule], now: int
) -> list[str]:
    """The violations of a transition taken at `now`, each `property: id`."""
    return [
        f"{name}: {schedule.id}"
        for schedule in after.values()
        if schedule.id in before
        for name, allowed in OF_SCHEDULE_STEP.items()
        if not allowed(before[schedule.id], schedule, now)
    ]


def uncalled(
    before: Mapping[str, Schedule], after: Mapping[str, Schedule], promises: Mapping[str, Promise]
) -> Iterator[str]:
    """Schedules whose last tick has come in this transition and has no call."""
    for schedule in after.values():
        known = before.get(schedule.id)
        if known is None or schedule.last_at is None or known.last_at == schedule.last_at:
            continue
        if tick_id(schedule.id, schedule.last_at) not in promises:
            yield schedule.id
