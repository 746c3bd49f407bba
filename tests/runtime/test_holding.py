"""`hold_max`: no delivery is held longer, whatever its body does, and no work is lost by that."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Any

import pytest

from resonate_amqp.core.model import PromiseState, TaskState
from resonate_amqp.core.requests import TaskAcquire, TaskLease
from resonate_amqp.runtime.context import Context
from resonate_amqp.wire.address import any_queue
from tests.core.world import settle
from tests.runtime.workshop import GROUP, Hand, Workshop

Body = Generator[Any, Any, Any]

HOLD_MAX = 10_000
SWEEP = 1_100
"""Milliseconds within which a worker looks at the age of its bodies."""
TTL = 60_000


def calls_slow(ctx: Context) -> Body:
    return (yield ctx.rfc("slow")) + 1


def works_and_calls(ctx: Context) -> Body:
    """A long local step, then a call that takes long."""
    done = yield ctx.lfc("slow", 5)
    return (yield ctx.rfc("slow", done))


def opened(**settings: Any) -> Workshop:
    made = {"hold_max": HOLD_MAX / 1000, "park_after": 1_000} | settings
    return Workshop(calls_slow, works_and_calls, **made)


def moved(workshop: Workshop) -> Hand:
    """A worker whose leaf r has gone on under a TTL lease."""
    hand = workshop.hire()
    workshop.call("slow", 3)
    workshop.pass_time(HOLD_MAX + SWEEP)
    assert "task.lease" in {kind for group in workshop.kinds() for kind in group}
    return hand


def prefetch(workshop: Workshop) -> list[int]:
    """What the consumers of the group's queue may leave unacknowledged."""
    return [one.prefetch for one in workshop.office.broker._queues[any_queue(GROUP)].consumers]


def test_a_leaf_that_outlives_hold_max_goes_on_under_a_ttl_lease() -> None:
    workshop = opened()
    hand = moved(workshop)
    task = workshop.task()
    assert (task.state, task.version, task.ttl, task.ticket) == (TaskState.ACQUIRED, 1, TTL, "")
    assert (hand.unacked, workshop.queued()) == (0, 0)
    assert hand.bench.began == {"r": 1}


def test_a_delivery_is_acknowledged_only_when_the_move_is_recorded() -> None:
    workshop = opened()
    hand = workshop.hire()
    workshop.call("slow")
    workshop.pass_time(100)
    with workshop.without_replies():
        workshop.pass_time(HOLD_MAX + SWEEP)
        assert (workshop.task().ticket, hand.unacked) == ("", 1)
    workshop.pass_time(5_000)
    assert (workshop.task().version, hand.unacked) == (1, 0)
    hand.bench.end("r")
    workshop.rest()
    workshop.check()


def test_a_moved_leaf_is_kept_alive_and_its_result_counts() -> None:
    workshop = opened()
    hand = moved(workshop)
    workshop.pass_time(10 * TTL)
    assert (workshop.task().version, workshop.task().deliveries) == (1, 0)
    hand.bench.end("r")
    workshop.rest()
    assert (workshop.result(), hand.bench.began) == (6, {"r": 1})
    workshop.check()


@pytest.mark.parametrize("refresh", [1.0, 30.0, 500.0])
def test_a_moved_leaf_is_kept_alive_however_often_leases_are_refreshed(refresh: float) -> None:
    workshop = opened(refresh=refresh)
    hand = moved(workshop)
    workshop.pass_time(3 * TTL)
    assert workshop.task().version == 1
    hand.bench.end("r")
    workshop.rest()
    workshop.check()


def test_a_moved_leaf_keeps_its_slot_until_it_ends() -> None:
    workshop = opened(prefetch=3)
    hand = workshop.hire()
    assert prefetch(workshop) == [3]
    for promise_id in ("a", "b"):
        workshop.call("slow", promise_id=promise_id)
    workshop.pass_time(HOLD_MAX + SWEEP)
    assert prefetch(workshop) == [1]
    hand.bench.end("a")
    workshop.rest()
    assert prefetch(workshop) == [2]
    hand.bench.end("b")
    workshop.rest()
    assert prefetch(workshop) == [3]
    workshop.check()


def test_a_worker_all_of_whose_slots_are_taken_by_moved_leaves_takes_nothing() -> None:
    workshop = opened(prefetch=2)
    hand = workshop.hire()
    for promise_id in ("a", "b"):
        workshop.call("slow", promise_id=promise_id)
    workshop.pass_time(HOLD_MAX + SWEEP)
    assert prefetch(workshop) == []
    workshop.call("quick")
    workshop.pass_time(SWEEP)
    assert (workshop.queued(), hand.unacked) == (1, 0)
    hand.bench.end("a")
    workshop.rest()
    assert workshop.result() == 2
    hand.bench.end("b")
    workshop.rest()
    assert prefetch(workshop) == [2]
    workshop.check()


def test_a_worker_that_takes_nothing_consumes_nothing_on_a_new_connection_either() -> None:
    workshop = opened(prefetch=1)
    hand = moved(workshop)
    hand.cut()
    workshop.pass_time(5_000)
    workshop.call("quick", promise_id="q")
    assert (workshop.queued(), prefetch(workshop)) == (1, [])
    hand.bench.end("r")
    workshop.pass_time(1_000)
    assert (workshop.result(), workshop.result("q")) == (6, 2)
    workshop.check()


def test_a_waiting_body_is_parked_when_its_delivery_is_hold_max_old() -> None:
    workshop = opened()
    hand = workshop.hire()
    workshop.call("calls_slow")
    workshop.pass_time(HOLD_MAX + SWEEP)
    kinds = {kind for group in workshop.kinds() for kind in group}
    assert (workshop.state("r"), "task.suspend" in kinds) == (TaskState.SUSPENDED, True)
    hand.bench.end("r:1")
    workshop.rest()
    assert workshop.result() == 3
    workshop.check()


def test_a_moved_workflow_parks_as_soon_as_it_waits() -> None:
    workshop = opened()
    hand = workshop.hire()
    workshop.call("works_and_calls")
    workshop.pass_time(HOLD_MAX + SWEEP)
    assert (workshop.task().ticket, workshop.state()) == ("", TaskState.ACQUIRED)
    hand.bench.end("r:1")
    workshop.rest()
    assert workshop.state() is TaskState.SUSPENDED
    assert prefetch(workshop) == [workshop.settings.prefetch]
    hand.bench.end("r:2")
    workshop.rest()
    assert workshop.result() == 20
    assert hand.bench.began == {"r:1": 1, "r:2": 1}
    workshop.check()


def test_a_moved_workflow_that_begins_to_wait_after_a_stop_is_parked() -> None:
    workshop = opened()
    hand = workshop.hire()
    workshop.call("works_and_calls")
    workshop.pass_time(HOLD_MAX + SWEEP)
    hand.worker.stop_taking()
    hand.bench.end("r:1")
    workshop.rest()
    assert workshop.state() is TaskState.SUSPENDED
    assert not hand.worker.busy()


def test_whoever_gets_the_message_of_a_moved_leaf_again_acknowledges_it() -> None:
    """The channel is lost after the move was recorded, and before the delivery was acked."""
    workshop = opened()
    first = workshop.hire("p1")
    workshop.call("slow", 3)
    workshop.pass_time(100)
    with workshop.without_replies():
        workshop.pass_time(HOLD_MAX + SWEEP)
    assert workshop.task().ticket == ""
    first.asleep = True
    second = workshop.hire("p2")
    first.connection.cut()
    workshop.pass_time(100)
    assert (workshop.task().version, second.unacked, workshop.queued()) == (1, 0, 0)
    assert second.bench.began == {}


def test_a_moved_leaf_whose_worker_died_is_offered_again_after_its_ttl() -> None:
    workshop = opened()
    first = moved(workshop)
    first.die()
    second = workshop.hire("p2")
    workshop.pass_time(TTL)
    assert (workshop.task().version, workshop.task().deliveries) == (2, 1)
    second.bench.end("r")
    workshop.rest()
    assert workshop.result() == 6
    workshop.check()


def test_a_moved_leaf_whose_lease_expired_goes_on_when_its_task_comes_back_here() -> None:
    """The ledger heard nothing of it for a minute; its function is not run a second time."""
    workshop = opened()
    hand = moved(workshop)
    hand.asleep = True
    workshop.pass_time(TTL + 100)
    hand.asleep = False
    workshop.pass_time(100)
    assert workshop.task().version == 2
    hand.bench.end("r")
    workshop.rest()
    assert (workshop.result(), hand.bench.began) == (6, {"r": 1})
    workshop.check()


def test_a_delivery_that_finds_no_slot_goes_back_after_hold_max() -> None:
    workshop = opened(prefetch=1)
    hand = workshop.hire()
    workshop.call("slow", promise_id="a")
    workshop.pass_time(5_000)
    queue = workshop.office.broker._queues[any_queue(GROUP)]
    queue.consumers[0].prefetch = 2
    workshop.call("quick", promise_id="b")
    workshop.rest()
    queue.consumers[0].prefetch = 1
    assert (hand.unacked, workshop.state("b")) == (2, TaskState.PENDING)
    other = workshop.hire("p2")
    workshop.pass_time(HOLD_MAX + SWEEP)
    assert (workshop.result("b"), other.bench.began) == (2, {"b": 1})
    hand.bench.end("a")
    workshop.rest()
    workshop.check()


def test_a_delivery_about_which_the_ledger_is_silent_goes_back_after_hold_max() -> None:
    workshop = opened()
    workshop.hire()
    workshop.call("nobodys")
    with workshop.without_ledger():
        workshop.pass_time(HOLD_MAX - SWEEP)
        assert {step.redelivered for step in acquires(workshop)} == {False}
        workshop.pass_time(3 * SWEEP)
        assert acquires(workshop)[-1].redelivered


def acquires(workshop: Workshop) -> list[TaskAcquire]:
    """Every acquire that was sent."""
    return [step for one in workshop.sent for step in one.steps if isinstance(step, TaskAcquire)]


def test_the_age_of_a_delivery_counts_from_its_arrival_and_not_from_its_start() -> None:
    workshop = opened(prefetch=1)
    hand = workshop.hire()
    workshop.call("slow", promise_id="a")
    workshop.rest()
    queue = workshop.office.broker._queues[any_queue(GROUP)]
    queue.consumers[0].prefetch = 2
    workshop.call("slow", promise_id="b")
    workshop.rest()
    queue.consumers[0].prefetch = 1
    workshop.pass_time(HOLD_MAX - 2_000)
    hand.bench.end("a")
    workshop.pass_time(2_000 + SWEEP)
    assert (workshop.task("b").ticket, hand.unacked) == ("", 0)
    assert workshop.state("b") is TaskState.ACQUIRED


def test_a_leaf_that_ends_while_its_move_is_under_way_is_recorded_once() -> None:
    workshop = opened()
    hand = workshop.hire()
    workshop.call("slow", 3)
    workshop.pass_time(100)
    with workshop.without_ledger():
        workshop.pass_time(HOLD_MAX + SWEEP)
        hand.bench.end("r")
        workshop.pass_time(1_000)
    workshop.rest()
    assert workshop.result() == 6
    assert prefetch(workshop) == [workshop.settings.prefetch]
    workshop.check()


def test_a_body_that_is_being_parked_is_not_moved_as_well() -> None:
    workshop = opened()
    hand = workshop.hire()
    workshop.call("calls_slow")
    workshop.pass_time(100)
    with workshop.without_ledger():
        workshop.pass_time(HOLD_MAX + 3 * SWEEP)
    workshop.rest()
    steps = [step for group in workshop.sent for step in group.steps]
    assert {step.id for step in steps if isinstance(step, TaskLease)} == {"r:1"}
    assert workshop.state() is TaskState.SUSPENDED
    hand.bench.end("r:1")
    workshop.rest()
    workshop.check()


def test_a_moved_task_that_was_canceled_is_let_go_and_frees_its_slot() -> None:
    workshop = opened()
    hand = moved(workshop)
    workshop.ask(settle("r", PromiseState.REJECTED_CANCELED))
    workshop.pass_time(30_000)
    assert not hand.worker.busy()
    assert prefetch(workshop) == [workshop.settings.prefetch]
    workshop.check()


def test_a_worker_that_gives_up_releases_its_moved_leaves_at_once() -> None:
    workshop = opened()
    hand = moved(workshop)
    hand.worker.stop_taking()
    hand.worker.give_up()
    workshop.rest()
    assert (workshop.state(), workshop.queued()) == (TaskState.PENDING, 1)
    assert not hand.worker.busy()


def test_a_waiting_body_that_cannot_be_parked_goes_on_waiting_and_asks_once_a_second(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What it awaits is gone from the ledger; whatever the reason, it must not ask in a circle."""
    workshop = opened()
    hand = workshop.hire()
    workshop.call("works_and_calls")
    workshop.pass_time(HOLD_MAX + SWEEP)
    hand.bench.end("r:1")
    for _ in range(2):
        hand.turn()
        workshop.desk.work()
    gone = workshop.ledger.promises.pop("r:2")
    with caplog.at_level(logging.CRITICAL):
        workshop.pass_time(5_000)
    suspends = [group for group in workshop.kinds() if "task.suspend" in group]
    assert 2 <= len(suspends) <= 7
    workshop.ledger.promises["r:2"] = gone
    workshop.pass_time(2_000)
    assert workshop.state() is TaskState.SUSPENDED
