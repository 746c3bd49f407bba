"""Schedules: every tick is one call, and what an operator asks for in between."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resonate_amqp.core.model import (
    ORIGIN,
    PARENT,
    SCHEDULE,
    SCOPE,
    TARGET,
    TaskState,
    Value,
    shard_of,
)
from resonate_amqp.core.schedules import MOST_AT_ONCE, tick_id
from resonate_amqp.core.timers import Timer, TimerKind, timers_of_schedule
from resonate_amqp.core.timetable import (
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
    ScheduleRequest,
    ScheduleResume,
    ScheduleTrigger,
)
from tests.core.world import NOW, TARGET_A, World, external, scheduled

FIRST, SECOND = "n.19700101T000005Z", "n.19700101T000010Z"
MANUAL = "n.000000000000001Z"


def scheduling(cron: str = "*/5 * * * * *") -> World:
    world = World()
    assert world.ask(scheduled("n", cron)).status == 200
    return world


def called(world: World) -> list[str]:
    return sorted(world.ledger.promises)


def fire_at(world: World, now: int) -> list[str]:
    """The calls that the schedule's timer makes at an instant."""
    world.now = now
    return [one.promise.id for one in world.fire(TimerKind.SCHEDULE, "n").executes]


def test_a_schedule_waits_for_its_first_tick() -> None:
    world = scheduling()
    schedule = world.schedule("n")
    assert (schedule.created_at, schedule.next_at, schedule.last_at) == (NOW, 5_000, None)
    assert world.outcome.timers == (Timer(5_000, TimerKind.SCHEDULE, "n"),)
    assert called(world) == []


def test_a_tick_makes_one_call_with_a_deadline_of_its_own() -> None:
    world = World()
    param = Value({"func": "f"}, "MQ==")
    world.ask(replace(scheduled("n", timeout_ms=700), param=param))
    assert fire_at(world, 5_003) == [FIRST]
    promise = world.promise(FIRST)
    assert (promise.param, promise.timeout_at, promise.created_at) == (param, 5_703, 5_003)
    assert promise.tags == {
        TARGET: TARGET_A,
        ORIGIN: FIRST,
        PARENT: FIRST,
        SCOPE: "global",
        SCHEDULE: "n",
    }
    assert world.task(FIRST).state is TaskState.PENDING
    schedule = world.schedule("n")
    assert (schedule.last_at, schedule.next_at) == (5_000, 10_000)
    assert Timer(10_000, TimerKind.SCHEDULE, "n") in world.outcome.timers


def test_a_timer_that_comes_early_is_to_come_again() -> None:
    world = scheduling()
    assert fire_at(world, 4_999) == []
    assert world.outcome.timers == (Timer(5_000, TimerKind.SCHEDULE, "n"),)


def test_a_timer_that_comes_twice_makes_one_call() -> None:
    world = scheduling()
    assert fire_at(world, 5_000) == [FIRST]
    assert fire_at(world, 5_000) == []


def test_every_tick_of_an_outage_is_called_once() -> None:
    world = scheduling()
    assert fire_at(world, 17_000) == [FIRST, SECOND, "n.19700101T000015Z"]
    assert world.schedule("n").next_at == 20_000


def test_what_a_long_outage_missed_is_called_in_portions() -> None:
    world = scheduling("* * * * * *")
    seconds = 2 * MOST_AT_ONCE + 50
    made: list[str] = []
    for expected in (MOST_AT_ONCE, MOST_AT_ONCE, 50):
        portion = fire_at(world, NOW + seconds * 1_000)
        assert len(portion) == expected
        made += portion
        [due] = timers_of_schedule(world.schedule("n"))
        assert due in world.outcome.timers
        assert (due.at <= world.now) is (len(made) < seconds)
    assert made == [tick_id("n", NOW + second * 1_000) for second in range(1, seconds + 1)]


def test_a_promise_that_has_a_ticks_id_is_left_as_it_is() -> None:
    world = scheduling()
    world.ask(external(FIRST, 100_000))
    before = world.promise(FIRST)
    assert fire_at(world, 10_000) == [SECOND]
    assert world.promise(FIRST) == before


def test_the_same_definition_again_changes_nothing() -> None:
    world = scheduling()
    fire_at(world, 5_000)
    before = world.schedule("n")
    world.now = 7_000
    assert world.ask(scheduled("n")).schedule == before
    assert world.outcome.timers == ()


def test_another_definition_is_taken_over_and_the_past_is_kept() -> None:
    world = scheduling()
    fire_at(world, 5_000)
    world.now = 6_000
    world.ask(scheduled("n", "*/7 * * * * *", timeout_ms=3))
    schedule = world.schedule("n")
    assert (schedule.created_at, schedule.last_at, schedule.next_at) == (NOW, 5_000, 7_000)
    assert schedule.timeout_ms == 3
    assert world.outcome.timers == (Timer(7_000, TimerKind.SCHEDULE, "n"),)


def test_another_definition_with_the_same_cron_misses_no_tick() -> None:
    world = scheduling()
    world.now = 12_000
    world.ask(scheduled("n", timeout_ms=3))
    assert fire_at(world, 12_000) == [FIRST, SECOND]


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (scheduled("n", "* * * *"), "has no tick"),
        (scheduled("n", "0 0 30 2 *"), "has no tick"),
        (replace(scheduled("n"), tags={}), "has no target"),
        (scheduled("n", timer="true"), "resonate:timer"),
        (scheduled("n", delay="5"), "resonate:delay"),
        (scheduled("n", branch="r"), "resonate:branch"),
        (scheduled("n", mirror="r"), "resonate:mirror"),
        (scheduled("n", timeout_ms=0), "no time"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_a_definition_that_cannot_be_is_refused(request_: ScheduleRequest, problem: str) -> None:
    world = World()
    answer = world.ask(request_)
    assert answer.status == 400
    assert problem in answer.error
    assert world.ledger.schedules == {}


def test_a_paused_schedule_lets_its_ticks_pass() -> None:
    world = scheduling()
    world.ask(SchedulePause(id="n"))
    assert world.outcome.timers == ()
    assert fire_at(world, 7_000) == []
    world.now = 13_000
    answer = world.ask(ScheduleResume(id="n"))
    assert answer.schedule is not None
    assert (answer.schedule.next_at, answer.schedule.paused) == (15_000, False)
    assert fire_at(world, 15_000) == ["n.19700101T000015Z"]


@pytest.mark.parametrize("cron", ["*/5 * * * * *", "*/7 * * * * *"])
def test_a_paused_schedule_stays_paused_when_it_is_defined_again(cron: str) -> None:
    world = scheduling()
    world.ask(SchedulePause(id="n"))
    world.ask(scheduled("n", cron, timeout_ms=3))
    assert world.schedule("n").paused


@pytest.mark.parametrize("kind", [SchedulePause, ScheduleResume])
def test_pausing_and_resuming_again_change_nothing(
    kind: type[SchedulePause] | type[ScheduleResume],
) -> None:
    world = scheduling()
    world.ask(kind(id="n"))
    before = world.schedule("n")
    world.now = 4_000
    assert world.ask(kind(id="n")).schedule == before
    assert world.schedule("n") == before


def test_a_resumed_schedule_that_was_not_paused_misses_no_tick() -> None:
    world = scheduling()
    world.now = 6_000
    world.ask(ScheduleResume(id="n"))
    assert fire_at(world, 6_000) == [FIRST]


def test_a_deleted_schedule_makes_no_calls_and_leaves_those_it_made() -> None:
    world = scheduling()
    fire_at(world, 5_000)
    assert world.ask(ScheduleDelete(id="n")).schedule is not None
    assert fire_at(world, 20_000) == []
    assert called(world) == [FIRST]
    assert world.ask(ScheduleGet(id="n")).status == 404


def test_deleting_again_is_no_failure() -> None:
    answer = World().ask(ScheduleDelete(id="n"))
    assert (answer.status, answer.schedule) == (200, None)


def test_a_schedule_made_again_repeats_no_tick_of_its_earlier_life() -> None:
    world = scheduling()
    fire_at(world, 5_000)
    world.run(ScheduleDelete(id="n"), scheduled("n", "5 * * * * *"))
    assert world.schedule("n").next_at == 65_000


@pytest.mark.parametrize(
    "request_",
    [
        ScheduleGet(id="n"),
        SchedulePause(id="n"),
        ScheduleResume(id="n"),
        ScheduleTrigger(id="n", promise_id=MANUAL),
    ],
    ids=lambda one: one.kind,
)
def test_what_is_asked_of_no_schedule_is_answered_404(request_: ScheduleRequest) -> None:
    answer = World().ask(request_)
    assert answer.status == 404
    assert "schedule 'n' does not exist" in answer.error


@pytest.mark.parametrize("paused", [False, True])
def test_a_trigger_makes_one_call_and_moves_no_tick(paused: bool) -> None:
    world = scheduling()
    if paused:
        world.ask(SchedulePause(id="n"))
    before = world.schedule("n")
    first = world.ask(ScheduleTrigger(id="n", promise_id=MANUAL))
    assert [one.promise.id for one in world.outcome.executes] == [MANUAL]
    assert world.promise(MANUAL).tags[SCHEDULE] == "n"
    again = world.ask(ScheduleTrigger(id="n", promise_id=MANUAL))
    assert world.outcome.executes == ()
    assert (first.status, first.promise) == (again.status, again.promise)
    assert world.schedule("n") == before


def test_a_trigger_asked_again_after_a_deletion_is_answered_as_before() -> None:
    world = scheduling()
    first = world.ask(ScheduleTrigger(id="n", promise_id=MANUAL))
    world.ask(ScheduleDelete(id="n"))
    again = world.ask(ScheduleTrigger(id="n", promise_id=MANUAL))
    assert (again.status, again.promise) == (200, first.promise)


def test_a_trigger_under_the_id_of_something_else_is_refused() -> None:
    world = scheduling()
    world.ask(external(MANUAL))
    answer = world.ask(ScheduleTrigger(id="n", promise_id=MANUAL))
    assert answer.status == 409
    assert "is taken" in answer.error


def test_a_trigger_under_an_id_that_another_ledger_may_keep_is_refused() -> None:
    world = scheduling()
    answer = world.ask(ScheduleTrigger(id="n", promise_id="manual"))
    assert answer.status == 400
    assert "write n., 15 characters and Z" in answer.error


@pytest.mark.parametrize("schedule_id", ["n", "a.b", "x.20260101T000000Z", "Ü"])
def test_the_calls_of_a_schedule_live_on_its_shard(schedule_id: str) -> None:
    tick = tick_id(schedule_id, 1_767_225_600_000)
    assert tick == f"{schedule_id}.20260101T000000Z"
    assert shard_of(tick) == shard_of(f"{tick}:1.2") == shard_of(schedule_id)
