"""Schedules in every ledger: whatever happens to it and to its clock, each tick is one call.

What is expected is counted here by hand, second by second, and not by the code that is tested.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from resonate_amqp.core.batch import Batch, Outcome
from resonate_amqp.core.model import TARGET, Schedule, Value
from resonate_amqp.core.requests import Group, Request, Response
from resonate_amqp.core.schedules import MOST_AT_ONCE
from resonate_amqp.core.timers import Timer, TimerKind
from resonate_amqp.core.timetable import (
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
    ScheduleResume,
)
from resonate_amqp.ledgers.sql import SqlLedger
from resonate_amqp.ports import Ledger
from resonate_amqp.server.watch import Watch
from tests.core.world import NOW, TARGET_A, call, scheduled

EVERY_SEVEN = "*/7 * * * * *"
MOST_TIMERS = 3


def ask(ledger: Ledger, request: Request, clock: int = NOW) -> Response:
    groups = (Group(id="g", steps=(request,)),)
    return ledger.apply(Batch(groups=groups), clock).answers[0][0]


def test_every_field_of_a_schedule_is_kept(ledger: Ledger) -> None:
    asked = replace(
        scheduled("ü", "30 5 * * * mon", timeout_ms=10**15),
        param=Value({"func": "f", "ключ": "ü"}, "MQ=="),
        tags={TARGET: TARGET_A, "color": "rot", "size": ""},
    )
    ask(ledger, asked)
    made = ask(ledger, SchedulePause(id="ü")).schedule
    ledger.promote(NOW)
    kept = ask(ledger, ScheduleGet(id="ü")).schedule
    assert (
        kept
        == made
        == Schedule(
            id="ü",
            cron=asked.cron,
            param=asked.param,
            tags=asked.tags,
            timeout_ms=10**15,
            created_at=NOW,
            next_at=345_930_000,
            paused=True,
        )
    )


def test_what_is_due_counts_a_schedule_unless_it_is_paused_or_deleted(ledger: Ledger) -> None:
    for schedule_id in ("a", "b", "c"):
        ask(ledger, scheduled(schedule_id))
    ask(ledger, call("r", 4_000))
    ask(ledger, SchedulePause(id="b"))
    ask(ledger, ScheduleDelete(id="c"))
    assert ledger.due_before(5_001, 10) == [
        Timer(4_000, TimerKind.DEADLINE, "r"),
        Timer(5_000, TimerKind.SCHEDULE, "a"),
    ]
    assert [timer.id for timer in ledger.due_before(5_000, 10)] == ["r"]


def test_the_timetable_is_in_the_order_of_ids_and_ends_at_its_limit(ledger: Ledger) -> None:
    for schedule_id in ("b", "B", "a-b", "aa"):
        ask(ledger, scheduled(schedule_id))
    assert [one.id for one in ledger.timetable(10)] == ["B", "a-b", "aa", "b"]
    assert [one.id for one in ledger.timetable(2)] == ["B", "a-b"]


def test_a_schedule_made_and_changed_in_one_batch_is_kept_as_it_ends(ledger: Ledger) -> None:
    steps = (scheduled("a"), SchedulePause(id="a"), scheduled("b"), ScheduleDelete(id="b"))
    ledger.apply(Batch(groups=(Group(id="g", steps=steps),)), NOW)
    assert [(one.id, one.paused) for one in ledger.timetable(10)] == [("a", True)]


def test_a_tick_and_its_call_are_one_transaction(opened: Callable[[], SqlLedger]) -> None:
    first, second = opened(), opened()
    first.promote(NOW)
    ask(first, scheduled("a"))
    first.apply(Batch(timers=(Timer(5_000, TimerKind.SCHEDULE, "a"),)), 12_000)
    second.promote(NOW)
    assert [one.promise.id for one in second.promote(NOW).executes] == [
        "a.19700101T000005Z",
        "a.19700101T000010Z",
    ]
    [kept] = second.timetable(10)
    assert (kept.last_at, kept.next_at) == (10_000, 15_000)


class Clockwork:
    """A ledger that is driven as its service does it, and is killed, and given odd clocks."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        self._ledger = ledger
        self._random = random.Random(seed)
        self._watch = Watch()
        self._clock = NOW
        self.now = NOW
        self.made: Counter[str] = Counter()
        self.restart()

    def restart(self) -> None:
        """Another ledger is promoted, with a clock of its own."""
        self._clock += self._random.choice((0, 0, -120_000, 30_000))
        self._ledger.promote(self._clock)
        self.now = self._record(self._ledger.apply(Batch(), self._clock))
        self._watch.restart(self._ledger, self.now)

    def pass_time(self) -> None:
        jump = self._random.choice((0, 1, 400, 999, 7_000, 61_000, 61_000, 900_000, -60_000))
        self._clock += jump
        self.now = max(self.now, self._clock)

    def turn(self, *requests: Request) -> None:
        """One transaction; from time to time the ledger dies before it, or right after it."""
        fate = self._random.random()
        timers = self._watch.take_due(self._ledger, self.now, MOST_TIMERS)
        if fate < 0.1:
            self.restart()
            timers = self._watch.take_due(self._ledger, self.now, MOST_TIMERS)
        groups = [Group(id="g", steps=(request,)) for request in requests]
        outcome = self._ledger.apply(Batch(groups=groups, timers=timers), self.now)
        self.now = self._record(outcome)
        self._watch.add(outcome.timers)
        if fate > 0.9:
            self.restart()

    def catch_up(self) -> None:
        """Turn until nothing is due."""
        while self._watch.next_at() <= self.now or self._ledger.due_before(self.now + 1, 1):
            self.turn()

    def _record(self, outcome: Outcome) -> int:
        self.made.update(one.promise.id for one in outcome.executes if not one.repeat)
        return outcome.now


def every_seven(schedule_id: str, after: int, until: int) -> list[str]:
    """The ids of the ticks of EVERY_SEVEN after an instant, up to and with another."""
    found = []
    for second in range(after // 1000 + 1, until // 1000 + 1):
        minute, of_minute = divmod(second, 60)
        if of_minute % 7 == 0:
            hour, of_hour = divmod(minute, 60)
            day, of_day = divmod(hour, 24)
            found.append(f"{schedule_id}.197001{day + 1:02}T{of_day:02}{of_hour:02}{of_minute:02}Z")
    return found


@pytest.mark.parametrize("seed", range(6))
def test_no_tick_is_called_twice_and_none_is_missed(ledger: Ledger, seed: int) -> None:
    clockwork = Clockwork(ledger, seed)
    began: dict[str, int] = {}
    for schedule_id in ("a", "b", "c", "d", "e"):
        clockwork.pass_time()
        clockwork.turn(scheduled(schedule_id, EVERY_SEVEN, timeout_ms=10**12))
        created = ask(ledger, ScheduleGet(id=schedule_id), clockwork.now).schedule
        assert created is not None
        began[schedule_id] = created.created_at
    for number in range(40):
        clockwork.pass_time()
        clockwork.turn(scheduled("a", EVERY_SEVEN, timeout_ms=10**12 + number))
    clockwork.catch_up()
    expected = [
        tick
        for schedule_id, since in began.items()
        for tick in every_seven(schedule_id, since, clockwork.now)
    ]
    assert len(expected) > 5 * MOST_AT_ONCE
    assert clockwork.made == Counter(expected)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_but_the_ticks_of_a_pause_is_passed_over(ledger: Ledger, seed: int) -> None:
    clockwork = Clockwork(ledger, seed)
    clockwork.turn(scheduled("a", EVERY_SEVEN, timeout_ms=10**12))
    expected: list[str] = []
    created = ask(ledger, ScheduleGet(id="a"), clockwork.now).schedule
    assert created is not None
    since = created.created_at
    for _ in range(5):
        clockwork.pass_time()
        clockwork.catch_up()
        until = clockwork.now
        clockwork.turn(SchedulePause(id="a"))
        expected += every_seven("a", since, until)
        before = set(clockwork.made)
        clockwork.pass_time()
        clockwork.turn()
        assert set(clockwork.made) == before
        ask(ledger, ScheduleResume(id="a"), clockwork.now)
        since = ledger.apply(Batch(), clockwork.now).now
        clockwork.restart()
    assert clockwork.made == Counter(expected)


def test_the_oracle_counts_as_the_calendar_does() -> None:
    seconds = ("07", "14", "21", "28", "35", "42", "49", "56")
    first = [f"a.19700101T0000{second}Z" for second in seconds]
    assert every_seven("a", 0, 60_000) == [*first, "a.19700101T000100Z"]
    assert every_seven("a", 86_400_000 - 1, 86_400_000) == ["a.19700102T000000Z"]
