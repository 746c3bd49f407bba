"""What happens by itself when an instant has come: never too early, never twice."""

from __future__ import annotations

import pytest

from resonate_amqp.core.effects import Limits, Overlay
from resonate_amqp.core.model import PromiseState, TaskState
from resonate_amqp.core.requests import Request, TaskContinue, TaskHalt
from resonate_amqp.core.timers import Timer, TimerKind, restarted, timers_of
from tests.core.world import (
    DEADLINE,
    NOW,
    TTL,
    World,
    acquire,
    call,
    external,
    heartbeat,
    internal,
    release,
    settle,
    suspend,
    timer,
)

TIMEDOUT = PromiseState.REJECTED_TIMEDOUT


def leased(max_deliveries: int = 10) -> World:
    world = World(max_deliveries)
    world.run(call("r"), acquire("r"))
    return world


def timers(world: World, promise_id: str) -> list[Timer]:
    return timers_of(world.promise(promise_id), world.ledger.tasks.get(promise_id))


@pytest.mark.parametrize("action", [call("r"), timer("r"), external("r")])
def test_an_external_promise_has_a_timer_for_its_deadline(action: Request) -> None:
    world = World()
    world.ask(action)
    assert timers(world, "r") == [Timer(DEADLINE, TimerKind.DEADLINE, "r")]


def test_an_internal_promise_has_no_timer() -> None:
    world = World()
    world.ask(internal("r"))
    assert timers(world, "r") == []


def test_a_settled_promise_has_no_timer() -> None:
    world = World()
    world.run(call("r"), settle("r"))
    assert timers(world, "r") == []


def test_a_leased_task_has_a_timer_for_its_lease() -> None:
    assert timers(leased(), "r")[1:] == [Timer(NOW + TTL, TimerKind.LEASE, "r")]


def test_a_delayed_task_has_a_timer_for_its_offer() -> None:
    world = World()
    world.ask(call("r", delay="2000"))
    assert timers(world, "r")[1:] == [Timer(2_000, TimerKind.RETRY, "r")]


def test_a_deadline_settles_the_promise_at_its_deadline() -> None:
    world = leased()
    world.now = DEADLINE + 70
    world.fire(TimerKind.DEADLINE, "r")
    assert (world.promise("r").state, world.promise("r").settled_at) == (TIMEDOUT, DEADLINE)
    assert world.task("r").state is TaskState.FULFILLED


@pytest.mark.parametrize("kind", list(TimerKind))
@pytest.mark.parametrize("promise_id", ["r", "x"])
def test_a_timer_that_comes_early_or_for_nothing_changes_nothing(
    kind: TimerKind, promise_id: str
) -> None:
    world = leased()
    before = world.state()
    world.fire(kind, promise_id)
    assert world.state() == before


@pytest.mark.parametrize("kind", list(TimerKind))
def test_a_timer_that_comes_twice_changes_nothing_the_second_time(kind: TimerKind) -> None:
    world = leased()
    world.ask(call("s", delay="1200"))
    world.now = {TimerKind.DEADLINE: DEADLINE, TimerKind.LEASE: NOW + TTL}.get(kind, 1_200)
    promise_id = "s" if kind is TimerKind.RETRY else "r"
    world.fire(kind, promise_id)
    once = world.state()
    world.now += 1
    world.fire(kind, promise_id)
    assert world.state() == once


def test_a_lease_that_expires_offers_the_task_again_at_the_same_version() -> None:
    world = leased()
    world.now += TTL
    world.fire(TimerKind.LEASE, "r")
    task = world.task("r")
    assert (task.state, task.version, task.deliveries) == (TaskState.PENDING, 1, 1)
    assert [row.version for row in world.rows("r")] == [1]


def test_a_lease_does_not_expire_a_millisecond_early() -> None:
    world = leased()
    world.now += TTL - 1
    world.fire(TimerKind.LEASE, "r")
    assert world.task("r").state is TaskState.ACQUIRED


def test_a_lease_timer_that_comes_early_says_when_to_look_again() -> None:
    world = leased()
    outcome = world.fire(TimerKind.LEASE, "r")
    assert outcome.timers == (Timer(NOW + TTL, TimerKind.LEASE, "r"),)
    outcome = world.fire(TimerKind.LEASE, "r", heard_since=NOW + 500)
    assert outcome.timers == (Timer(NOW + 500 + TTL, TimerKind.LEASE, "r"),)


def test_a_retry_timer_that_comes_early_says_when_to_look_again() -> None:
    world = World()
    world.ask(call("r", delay="2000"))
    outcome = world.fire(TimerKind.RETRY, "r")
    assert outcome.timers == (Timer(2_000, TimerKind.RETRY, "r"),)


def test_a_lease_that_was_refreshed_does_not_expire_by_its_old_timer() -> None:
    world = leased()
    world.now += TTL - 1
    world.ask(heartbeat("r"))
    world.now += 1
    world.fire(TimerKind.LEASE, "r")
    assert world.task("r").state is TaskState.ACQUIRED


def test_a_lease_expires_only_after_its_holder_could_be_heard_for_a_whole_ttl() -> None:
    world = leased()
    heard_since = NOW + 500
    world.now = heard_since + TTL - 1
    world.fire(TimerKind.LEASE, "r", heard_since)
    assert world.task("r").state is TaskState.ACQUIRED
    world.now += 1
    world.fire(TimerKind.LEASE, "r", heard_since)
    assert world.task("r").state is TaskState.PENDING


def test_too_many_expiries_without_progress_halt_the_task() -> None:
    world = leased(max_deliveries=1)
    for version in (1, 2):
        world.now += TTL
        world.fire(TimerKind.LEASE, "r")
        world.ask(acquire("r", version, f"h{version + 1}", f"t{version + 1}"))
    assert world.task("r").state is TaskState.HALTED
    assert world.rows("r") == []


def test_a_lease_timer_past_the_deadline_offers_nothing() -> None:
    world = leased()
    world.now = DEADLINE
    world.fire(TimerKind.LEASE, "r")
    assert world.task("r").state is TaskState.FULFILLED
    assert world.outcome.executes == ()


def test_a_delayed_task_is_offered_at_its_instant() -> None:
    world = World()
    world.ask(call("r", delay="2000"))
    world.now = 2_000
    world.fire(TimerKind.RETRY, "r")
    assert world.task("r").offered
    assert [execute.promise.id for execute in world.outcome.executes] == ["r"]


def test_a_delayed_release_is_offered_at_its_instant() -> None:
    world = leased()
    world.ask(release("r", delay=500))
    world.now += 499
    world.fire(TimerKind.RETRY, "r")
    assert world.rows("r") == []
    world.now += 1
    world.fire(TimerKind.RETRY, "r")
    assert [row.version for row in world.rows("r")] == [1]


def test_a_retry_timer_past_the_deadline_offers_nothing() -> None:
    world = World()
    world.ask(call("r", delay="2000"))
    world.now = DEADLINE
    world.fire(TimerKind.RETRY, "r")
    assert world.outcome.executes == ()


def test_a_retry_timer_does_not_offer_a_task_twice() -> None:
    world = World()
    world.ask(call("r"))
    row = world.rows("r")
    world.fire(TimerKind.RETRY, "r")
    assert (world.rows("r"), world.outcome.executes) == (row, ())


@pytest.mark.parametrize("kind", [TimerKind.LEASE, TimerKind.RETRY])
def test_a_halted_task_is_woken_by_no_timer(kind: TimerKind) -> None:
    world = leased()
    world.ask(TaskHalt(id="r"))
    world.now += TTL
    world.fire(kind, "r")
    assert world.task("r").state is TaskState.HALTED


def test_a_continued_task_has_no_lease_to_expire() -> None:
    world = leased()
    world.run(TaskHalt(id="r"), TaskContinue(id="r"))
    world.now += TTL
    world.fire(TimerKind.LEASE, "r")
    assert world.task("r").deliveries == 0


def restart(world: World, task_id: str) -> Overlay:
    state = Overlay(world.ledger, iter(range(1_000, 2_000)), Limits())
    restarted(state, task_id, world.now)
    return state


def test_a_restart_releases_a_lease_and_offers_the_task() -> None:
    state = restart(leased(), "r")
    assert state.tasks["r"].state is TaskState.PENDING
    assert [offer.task_id for offer in state.offers] == ["r"]


def test_a_restart_offers_a_pending_task_again_and_voids_the_older_row() -> None:
    world = World()
    world.ask(call("r"))
    state = restart(world, "r")
    assert [offer.task_id for offer in state.offers] == ["r"]
    assert state.withdrawn == {"r"}


def test_a_restart_offers_no_task_before_its_instant() -> None:
    world = World()
    world.ask(call("r", delay="2000"))
    assert restart(world, "r").offers == []


def test_a_restart_settles_what_is_past_its_deadline_and_offers_nothing() -> None:
    world = leased()
    world.now = DEADLINE
    state = restart(world, "r")
    assert (state.promises["r"].state, state.offers) == (TIMEDOUT, [])


def test_a_restart_leaves_a_suspended_task_asleep() -> None:
    world = leased()
    world.run(external("x"), suspend("r", "x"))
    assert restart(world, "r").tasks == {}


def test_a_restart_leaves_what_does_not_exist_alone() -> None:
    assert restart(World(), "r").tasks == {}
