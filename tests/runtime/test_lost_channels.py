"""A lost channel ends every lease under it; no leaf runs again if that can be helped."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from resonate_amqp.core.model import PromiseState, TaskState
from resonate_amqp.runtime.context import Context
from resonate_amqp.wire.address import any_queue
from tests.core.world import settle
from tests.runtime.workshop import GROUP, Workshop

Body = Generator[Any, Any, Any]


def calls_slow(ctx: Context) -> Body:
    return (yield ctx.rfc("slow")) + 1


def works(ctx: Context) -> Body:
    """A local step that takes long, and one after it."""
    done = yield ctx.lfc("slow", 5)
    return (yield ctx.lfc("quick", done))


def works_beside(ctx: Context) -> Body:
    """A local step that takes long beside a call."""
    beside = yield ctx.rfi("slow", 1)
    done = yield ctx.lfc("slow", 5)
    return done + (yield beside)


def opened(**settings: Any) -> Workshop:
    return Workshop(calls_slow, works, works_beside, **settings)


def test_a_waiting_body_is_dropped_and_runs_again_from_what_is_recorded() -> None:
    workshop = opened()
    hand = workshop.hire()
    workshop.call("calls_slow")
    workshop.pass_time(100)
    hand.cut()
    workshop.rest()
    assert (workshop.task().version, hand.bench.began) == (2, {"r:1": 1})
    hand.bench.end("r:1")
    workshop.rest()
    assert workshop.result() == 3
    workshop.check()


@pytest.mark.parametrize("age", [10, 100], ids=["not acquired yet", "acquired"])
def test_a_running_leaf_goes_on_when_its_task_comes_back_here(age: int) -> None:
    workshop = opened()
    hand = workshop.hire()
    workshop.call("slow", 4)
    workshop.pass_time(age)
    hand.cut()
    workshop.pass_time(5_000)
    assert hand.bench.began == {"r": 1}
    assert hand.unacked == 1
    hand.bench.end("r")
    workshop.rest()
    assert (workshop.result(), hand.bench.began) == (8, {"r": 1})
    workshop.check()


def test_a_leaf_goes_on_through_many_lost_channels() -> None:
    workshop = opened(max_deliveries=100)
    hand = workshop.hire()
    workshop.call("slow", 4)
    for _ in range(8):
        workshop.pass_time(700)
        hand.cut()
    workshop.pass_time(700)
    hand.bench.end("r")
    workshop.rest()
    assert (workshop.result(), hand.bench.began) == (8, {"r": 1})
    workshop.check()


def test_a_leaf_whose_task_another_process_took_counts_for_nothing() -> None:
    workshop = opened()
    first = workshop.hire("p1")
    workshop.call("slow", 4)
    workshop.pass_time(100)
    second = workshop.hire("p2")
    first.connection.cut()
    workshop.pass_time(10)
    first.connection.reconnect()
    workshop.rest()
    assert (first.bench.began, second.bench.began) == ({"r": 1}, {"r": 1})
    workshop.sent.clear()
    first.bench.end("r")
    workshop.pass_time(1_000)
    assert workshop.kinds() == []
    assert workshop.promise().pending
    second.bench.end("r")
    workshop.rest()
    assert workshop.result() == 8
    workshop.pass_time(120_000)
    assert not first.worker.busy()
    workshop.check()


def test_the_task_of_an_orphan_is_adopted_although_every_slot_is_taken_by_orphans() -> None:
    workshop = opened(prefetch=2)
    hand = workshop.hire()
    for promise_id in ("a", "b"):
        workshop.call("slow", promise_id=promise_id)
    workshop.pass_time(100)
    hand.cut()
    workshop.pass_time(1_000)
    assert [workshop.task(one).version for one in ("a", "b")] == [2, 2]
    for promise_id in ("a", "b"):
        hand.bench.end(promise_id)
    workshop.rest()
    assert hand.bench.began == {"a": 1, "b": 1}
    workshop.check()


def test_an_orphan_is_adopted_when_its_worker_can_send_again() -> None:
    """The message is back while the publishing connection is not."""
    workshop = opened(prefetch=1)
    hand = workshop.hire()
    workshop.call("slow")
    workshop.pass_time(100)
    hand.cut()
    connected = hand.connection.connected
    hand.connection.connected = lambda: False  # type: ignore[method-assign]  # the wire
    workshop.pass_time(1_000)
    assert hand.unacked == 1
    hand.connection.connected = connected  # type: ignore[method-assign]  # the wire
    workshop.pass_time(3_000)
    hand.bench.end("r")
    workshop.rest()
    assert hand.bench.began == {"r": 1}
    workshop.check()


def test_running_orphans_take_slots_from_other_work_and_ended_ones_none() -> None:
    workshop = opened(prefetch=1)
    first = workshop.hire("p1")
    workshop.call("slow", promise_id="a")
    workshop.pass_time(100)
    second = workshop.hire("p2")
    first.connection.cut()
    workshop.pass_time(10)
    first.connection.reconnect()
    workshop.call("quick", promise_id="b")
    workshop.pass_time(100)
    assert (first.unacked, first.bench.began) == (1, {"a": 1})
    first.bench.end("a")
    workshop.rest()
    assert workshop.result("b") == 2
    second.bench.end("a")
    workshop.rest()
    workshop.check()


def test_a_workflow_with_a_running_local_step_goes_on_when_its_task_comes_back_here() -> None:
    workshop = opened()
    hand = workshop.hire()
    workshop.call("works")
    workshop.pass_time(100)
    hand.cut()
    workshop.rest()
    assert workshop.task().version == 2
    hand.bench.end("r:1")
    workshop.rest()
    assert (workshop.result(), hand.bench.began) == (20, {"r:1": 1, "r:2": 1})
    workshop.check()


def test_a_workflow_that_somebody_else_held_meanwhile_is_not_adopted() -> None:
    workshop = opened()
    first = workshop.hire("p1")
    workshop.call("works")
    workshop.pass_time(100)
    second = workshop.hire("p2")
    first.connection.cut()
    workshop.pass_time(100)
    assert workshop.task().version == 2
    first.connection.reconnect()
    workshop.rest()
    second.die()
    workshop.pass_time(100)
    assert workshop.task().version == 3
    assert first.bench.began == {"r:1": 2}
    while first.bench.running:
        first.bench.end("r:1")
        workshop.rest()
    assert workshop.result() == 20
    workshop.check()


def test_a_leaf_that_somebody_else_held_meanwhile_without_recording_anything_is_adopted() -> None:
    workshop = opened()
    first = workshop.hire("p1")
    workshop.call("slow", 4)
    workshop.pass_time(100)
    second = workshop.hire("p2")
    first.connection.cut()
    workshop.pass_time(100)
    first.connection.reconnect()
    workshop.rest()
    second.die()
    workshop.pass_time(100)
    assert (workshop.task().version, first.bench.began) == (3, {"r": 1})
    first.bench.end("r")
    workshop.rest()
    assert workshop.result() == 8
    workshop.check()


def test_an_orphan_hears_what_it_waits_for_and_records_it_under_the_new_lease() -> None:
    workshop = opened()
    hand = workshop.hire()
    workshop.call("works_beside")
    workshop.pass_time(100)
    hand.connection.cut()
    workshop.pass_time(10)
    hand.bench.end("r:2")
    hand.connection.reconnect()
    workshop.pass_time(100)
    hand.bench.end("r:1")
    workshop.pass_time(1_000)
    assert (workshop.result(), hand.bench.began) == (12, {"r:1": 1, "r:2": 1})
    workshop.check()


@pytest.mark.parametrize("function", ["slow", "works"])
def test_a_result_that_could_not_be_recorded_before_the_channel_was_lost_is_recorded_after(
    function: str,
) -> None:
    """The leaf has ended; what it did must not be done again for a broken connection."""
    workshop = opened()
    hand = workshop.hire()
    workshop.call(function, *([4] if function == "slow" else []))
    workshop.pass_time(100)
    leaf = hand.bench.running[0].promise_id
    hand.connection.cut()
    hand.bench.end(leaf)
    workshop.pass_time(10)
    hand.connection.reconnect()
    workshop.pass_time(5_000)
    assert hand.bench.began[leaf] == 1
    assert workshop.promise().state is PromiseState.RESOLVED
    workshop.check()


@pytest.mark.parametrize("recorded", [False, True])
def test_a_fulfil_whose_answer_was_lost_with_the_channel_is_not_computed_again(
    recorded: bool,
) -> None:
    workshop = opened()
    hand = workshop.hire()
    workshop.call("slow", 4)
    workshop.pass_time(100)
    hand.bench.end("r")
    if recorded:
        with workshop.without_replies():
            workshop.rest()
    else:
        hand.turn()
        workshop.office.broker.faults = None
        hand.connection.cut()
    hand.cut()
    workshop.pass_time(5_000)
    assert (workshop.result(), hand.bench.began) == (8, {"r": 1})
    workshop.check()


def test_an_orphan_that_ended_and_was_not_wanted_back_is_forgotten_after_a_minute() -> None:
    workshop = opened()
    first = workshop.hire("p1")
    workshop.call("slow")
    workshop.pass_time(100)
    second = workshop.hire("p2")
    first.connection.cut()
    workshop.pass_time(10)
    first.connection.reconnect()
    first.bench.end("r")
    workshop.pass_time(70_000)
    assert first.worker._orphans._bodies == {}
    second.bench.end("r")
    workshop.rest()
    workshop.check()


def test_an_orphan_whose_task_was_canceled_is_dropped_when_its_message_comes_back() -> None:
    workshop = opened()
    hand = workshop.hire()
    workshop.call("slow")
    workshop.pass_time(100)
    hand.connection.cut()
    workshop.pass_time(10)
    workshop.ask(settle("r", PromiseState.REJECTED_CANCELED))
    hand.connection.reconnect()
    workshop.pass_time(1_000)
    assert (hand.unacked, workshop.queued()) == (0, 0)
    hand.bench.end("r")
    workshop.rest()
    assert workshop.promise().state is PromiseState.REJECTED_CANCELED
    workshop.check()


def test_a_channel_lost_while_a_move_is_under_way_costs_no_second_run() -> None:
    """The ledger has moved the lease; the worker lost the channel before it was told."""
    workshop = opened(hold_max=10)
    hand = workshop.hire()
    workshop.call("slow", 4)
    workshop.pass_time(100)
    with workshop.without_replies():
        workshop.pass_time(11_000)
    assert workshop.task().ticket == ""
    hand.cut()
    workshop.pass_time(1_000)
    hand.bench.end("r")
    workshop.pass_time(120_000)
    assert workshop.promise().state is PromiseState.RESOLVED
    assert hand.bench.began == {"r": 1}
    workshop.check()


def test_a_body_that_is_being_released_is_not_adopted() -> None:
    workshop = opened()
    hand = workshop.hire()
    workshop.call("works")
    workshop.pass_time(100)
    [body] = hand.worker._bodies.values()
    with workshop.without_ledger():
        body.release(0)
        hand.cut()
        workshop.pass_time(100)
    workshop.pass_time(5_000)
    while hand.bench.running:
        hand.bench.end("r:1")
        workshop.rest()
    assert workshop.result() == 20
    workshop.check()


def test_a_queue_that_was_deleted_ends_the_leases_under_it() -> None:
    workshop = opened()
    hand = workshop.hire()
    workshop.call("slow")
    workshop.pass_time(100)
    workshop.office.broker.delete(any_queue(GROUP))
    workshop.pass_time(2_000)
    assert not hand.worker.busy()
    assert workshop.state() is TaskState.ACQUIRED
    workshop.pass_time(700_000)
    assert workshop.task().version == 2
    if hand.bench.running:
        hand.bench.end("r")
    workshop.rest()
    assert workshop.result() == 2


def test_a_stopped_consumer_still_loses_what_it_holds_with_its_connection() -> None:
    workshop = opened()
    hand = workshop.hire()
    workshop.call("calls_slow")
    workshop.call("slow", promise_id="s")
    workshop.pass_time(100)
    other = workshop.hire("p2")
    hand.worker.stop_taking()
    workshop.rest()
    hand.connection.cut()
    workshop.pass_time(100)
    assert not hand.worker.busy()
    assert other.bench.began["s"] == 1
