"""A body that starts before its lease is answered: when it may, and that nothing is lost by it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from resonate_amqp.core.model import PromiseState, TaskState
from resonate_amqp.core.requests import TaskAcquire, TaskRedrive
from resonate_amqp.ports import Delivery
from resonate_amqp.runtime.context import Context
from resonate_amqp.wire.requests import _READERS as READERS
from tests.core.world import settle
from tests.runtime.workshop import GROUP, Hand, Workshop
from tests.server.desk import executes

Body = Generator[Any, Any, Any]

ALONE = 50
"""Milliseconds after which an acquire goes without a group of the body's own."""


def steps(_ctx: Context) -> Body:
    """Two local steps and a call."""
    one = yield _ctx.lfc("quick", 1)
    other = yield _ctx.lfc("slow", one)
    return (yield _ctx.rfc("quick", other))


def calls_slow(ctx: Context) -> Body:
    return (yield ctx.rfc("slow")) + 1


def test_a_quick_leaf_is_acquired_and_fulfilled_by_one_group() -> None:
    workshop = Workshop()
    workshop.hire()
    workshop.call("quick", 4)
    workshop.rest()
    assert workshop.kinds() == [["task.acquire", "task.fulfill"]]
    assert workshop.result() == 8
    workshop.check()


def test_the_acquire_of_a_slow_leaf_goes_alone_after_50_ms() -> None:
    workshop = Workshop()
    hand = workshop.hire()
    workshop.call("slow")
    workshop.pass_time(ALONE - 1)
    assert workshop.kinds() == []
    assert hand.bench.began == {"r": 1}
    workshop.pass_time(1)
    assert workshop.kinds() == [["task.acquire"]]
    hand.bench.end("r")
    workshop.rest()
    assert workshop.kinds() == [["task.fulfill"]]
    workshop.check()


def test_a_workflow_is_acquired_by_the_group_of_its_first_steps() -> None:
    workshop = Workshop(steps)
    hand = workshop.hire()
    workshop.call("steps")
    workshop.rest()
    first, *others = workshop.kinds()
    assert first == ["task.acquire", "task.fence", "task.fence"]
    assert all("task.acquire" not in group for group in others)
    hand.bench.end("r:2")
    workshop.rest()
    assert workshop.result() == 8
    workshop.check()


def test_a_redelivered_task_does_not_start_before_it_is_acquired() -> None:
    workshop = Workshop()
    hand = workshop.hire()
    hand.worker.stop_taking()
    hand.turn()
    died = workshop.office.worker(GROUP)
    workshop.call("quick")
    assert len(executes(died)) == 1
    died.close()
    hand.worker.start()
    workshop.rest()
    assert workshop.kinds() == [["task.acquire"], ["task.fulfill"]]
    workshop.check()


def test_a_task_that_was_published_again_does_not_start_before_it_is_acquired() -> None:
    workshop = Workshop()
    hand = workshop.hire()
    hand.asleep = True
    workshop.call("quick")
    hand.connection.ack([event for event in hand.connection.poll(0) if isinstance(event, Delivery)])
    workshop.ask(TaskRedrive(id="r"))
    hand.asleep = False
    workshop.pass_time(2_000)
    assert workshop.kinds() == [["task.acquire"], ["task.fulfill"]]
    workshop.check()


def test_a_resumed_task_does_not_start_before_it_is_acquired() -> None:
    workshop = Workshop(calls_slow, park_after=0.2)
    hand = workshop.hire()
    workshop.call("calls_slow")
    workshop.pass_time(1_000)
    assert workshop.state() is TaskState.SUSPENDED
    workshop.kinds()
    hand.bench.end("r:1")
    workshop.rest()
    assert workshop.kinds() == [["task.fulfill"], ["task.acquire"], ["task.fulfill"]]
    assert workshop.result() == 3
    workshop.check()


@pytest.mark.parametrize(("age", "early"), [(999, True), (1_000, False)])
def test_a_task_that_waited_in_its_queue_for_a_second_does_not_start_early(
    age: int, early: bool
) -> None:
    workshop = Workshop()
    hand = workshop.hire()
    hand.asleep = True
    workshop.call("quick")
    workshop.pass_time(age)
    workshop.sent.clear()
    hand.asleep = False
    workshop.rest()
    groups = [group for group in workshop.kinds() if "task.acquire" in group]
    assert groups == [["task.acquire", "task.fulfill"] if early else ["task.acquire"]]
    workshop.check()


@pytest.mark.parametrize("ahead", [-3_600_000, 3_600_000])
def test_the_age_of_a_task_is_told_by_the_clock_of_the_ledger(ahead: int) -> None:
    """The worker's own clock may be an hour wrong either way."""
    workshop = Workshop()
    hand = workshop.hire()
    clock = workshop.office.clock

    class Wrong:
        def now(self) -> int:
            return clock.now() + ahead

        def monotonic(self) -> int:
            return clock.monotonic()

    hand.session.clock = Wrong()
    hand.session.listeners.add("nothing", lambda _outcome: None, registered=False)
    workshop.rest()
    workshop.kinds()
    workshop.call("quick")
    workshop.rest()
    assert workshop.kinds() == [["task.acquire", "task.fulfill"]]


def test_nothing_starts_early_before_the_ledger_has_answered_for_the_first_time() -> None:
    workshop = Workshop()
    workshop.hands.append(Hand(workshop, "p1", workshop.settings))
    workshop.rest()
    workshop.call("quick", promise_id="a")
    workshop.rest()
    assert workshop.kinds() == [["task.acquire"], ["task.fulfill"]]
    workshop.call("quick", promise_id="b")
    workshop.rest()
    assert workshop.kinds() == [["task.acquire", "task.fulfill"]]


def test_a_function_that_is_not_known_here_does_not_start_early() -> None:
    workshop = Workshop()
    workshop.hire()
    workshop.call("nobodys")
    workshop.rest()
    assert workshop.kinds() == [["task.acquire"], ["task.release"]]


def taken_by_another(workshop: Workshop) -> None:
    """Another process acquires the task by a message of its own."""
    acquire = TaskAcquire(id="r", version=0, pid="x", ttl=600_000, holder="other", ticket="t-other")
    workshop.ask(acquire)


def test_a_leaf_whose_acquire_is_refused_counts_for_nothing() -> None:
    workshop = Workshop()
    hand = workshop.hire()
    workshop.call("slow")
    with workshop.without_ledger():
        workshop.rest()
    taken_by_another(workshop)
    assert hand.bench.began == {"r": 1}
    workshop.pass_time(ALONE)
    assert not hand.worker.busy()
    hand.bench.end("r")
    workshop.rest()
    assert workshop.kinds() == [["task.acquire"]]
    assert (workshop.task().holder, workshop.promise().pending) == ("other", True)
    assert (hand.unacked, workshop.queued()) == (0, 0)


def test_a_workflow_whose_acquire_is_refused_records_nothing() -> None:
    workshop = Workshop(steps)
    hand = workshop.hire()
    workshop.call("steps")
    with workshop.without_ledger():
        workshop.rest()
        assert workshop.kinds() == [["task.acquire", "task.fence", "task.fence"]]
    # The group of the worker waits in the ledger's queue behind that of another process.
    workshop.ledger.tasks["r"] = workshop.task().but(version=7)
    workshop.rest()
    assert list(workshop.ledger.promises) == ["r"]
    assert workshop.kinds() == []
    assert not hand.worker.busy()
    assert hand.unacked == 0


def test_a_group_is_sent_with_the_acquire_until_one_was_answered() -> None:
    """The version is not used outside the group that holds the acquire."""
    workshop = Workshop(steps)
    workshop.hire()
    workshop.call("steps")
    with workshop.without_ledger():
        workshop.pass_time(10_000)
        groups = workshop.kinds()
        assert len(groups) > 1
        assert {tuple(group) for group in groups} == {("task.acquire", "task.fence", "task.fence")}


def test_no_lease_is_refreshed_before_its_acquire_was_answered() -> None:
    """The ledger would call it lost, and the task would be dropped with its message."""
    workshop = Workshop()
    hand = workshop.hire()
    workshop.call("slow", promise_id="a")
    workshop.pass_time(30_000 - 20)
    workshop.call("slow", promise_id="r")
    workshop.pass_time(ALONE + 20)
    assert "task.heartbeat" in {kind for group in workshop.kinds() for kind in group}
    assert workshop.state() is TaskState.ACQUIRED
    for promise_id in ("a", "r"):
        hand.bench.end(promise_id)
    workshop.rest()
    assert workshop.result() == 2
    workshop.check()


def test_a_lost_answer_to_the_first_group_costs_a_repetition_and_nothing_else() -> None:
    workshop = Workshop()
    hand = workshop.hire()
    workshop.call("quick")
    with workshop.without_replies():
        workshop.pass_time(1_500)
    assert workshop.promise().state is PromiseState.RESOLVED
    assert hand.worker.busy()
    workshop.pass_time(1_000)
    assert workshop.kinds() == [["task.acquire", "task.fulfill"]] * 2
    assert (workshop.task().version, hand.bench.began) == (1, {"r": 1})
    workshop.check()


def test_a_body_is_resumed_with_a_steps_result_only_when_it_is_recorded() -> None:
    workshop = Workshop(steps)
    hand = workshop.hire()
    hand.bench.slow = set()
    workshop.call("steps")
    with workshop.without_ledger():
        workshop.rest()
        assert hand.bench.began == {"r:1": 1}
    workshop.rest()
    assert hand.bench.began == {"r:1": 1, "r:2": 1, "r:3": 1}
    workshop.check()


def test_a_task_that_was_canceled_meanwhile_is_let_go() -> None:
    workshop = Workshop()
    hand = workshop.hire()
    workshop.call("slow")
    workshop.ask(settle("r", PromiseState.REJECTED_CANCELED))
    workshop.pass_time(ALONE)
    assert hand.unacked == 0
    assert not hand.worker.busy()
    workshop.check()


def test_a_first_group_that_the_ledger_cannot_read_does_not_cost_the_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As an older ledger answers a request that it does not know."""
    workshop = Workshop(steps)
    hand = workshop.hire()
    hand.bench.slow = set()
    monkeypatch.delitem(READERS, "task.fence")
    workshop.call("steps")
    workshop.rest()
    assert hand.unacked == 1
    monkeypatch.undo()
    workshop.pass_time(2_000)
    assert workshop.result() == 8
    workshop.check()


def test_a_stop_during_an_early_start_keeps_the_body_until_it_has_ended() -> None:
    workshop = Workshop()
    hand = workshop.hire()
    workshop.call("slow")
    workshop.rest()
    hand.worker.stop_taking()
    workshop.pass_time(ALONE)
    assert workshop.kinds() == [["task.acquire"]]
    assert hand.worker.busy()
    hand.bench.end("r")
    workshop.rest()
    assert workshop.result() == 2
    assert not hand.worker.busy()
    workshop.check()


def test_a_worker_that_dies_early_leaves_a_task_that_was_never_held() -> None:
    """The message comes back flagged, so the next worker acquires before it starts."""
    workshop = Workshop()
    first = workshop.hire("p1")
    workshop.call("slow")
    workshop.rest()
    first.die()
    second = workshop.hire("p2")
    workshop.rest()
    assert (workshop.task().version, workshop.task().deliveries) == (1, 0)
    second.bench.end("r")
    workshop.rest()
    workshop.check()


def test_what_was_canceled_before_its_acquire_was_answered_does_not_start() -> None:
    """The copy of an acquire is answered as the first was, though the task has ended since."""
    workshop = Workshop()
    hand = workshop.hire()
    hand.session.synchronised = False
    workshop.call("quick", 4)
    with workshop.without_replies():
        workshop.rest()
    assert workshop.state() is TaskState.ACQUIRED
    workshop.ask(settle("r", PromiseState.REJECTED_CANCELED))
    workshop.pass_time(20_000)
    assert hand.bench.began == {}
    assert hand.unacked == 0
    workshop.check()


def test_a_second_offer_waits_until_the_first_is_acquired() -> None:
    """Otherwise its acquire could come first, and the function would begin twice here."""
    workshop = Workshop()
    hand = workshop.hire()
    workshop.call("slow")
    with workshop.without_ledger():
        workshop.rest()
        assert hand.bench.began["r"] == 1
    workshop.ask(TaskRedrive(id="r"))
    workshop.pass_time(5_000)
    assert hand.bench.began["r"] == 1
    hand.bench.end("r")
    workshop.pass_time(5_000)
    assert hand.bench.began["r"] == 1
    assert workshop.result() == 2
    workshop.check()


def test_a_second_offer_leaves_as_soon_as_the_first_is_acquired() -> None:
    """A worker that stops meanwhile would put it back, void, for somebody else to find out."""
    workshop = Workshop()
    hand = workshop.hire()
    workshop.call("slow")
    with workshop.without_ledger():
        workshop.rest()
    workshop.ask(TaskRedrive(id="r"))
    workshop.rest()
    assert hand.unacked == 2
    workshop.pass_time(2 * ALONE)
    assert (hand.unacked, workshop.queued()) == (1, 0)
    hand.bench.end("r")
    workshop.rest()
    workshop.check()


def test_a_second_offer_of_a_task_that_was_not_acquired_goes_back() -> None:
    workshop = Workshop()
    hand = workshop.hire()
    workshop.call("slow")
    with workshop.without_ledger():
        workshop.rest()
    workshop.ask(TaskRedrive(id="r"))
    workshop.ask(settle("r", PromiseState.REJECTED_CANCELED))
    workshop.pass_time(5_000)
    assert hand.unacked == 0
    workshop.check()
