"""A canceled promise takes what its task issued with it, except what was detached."""

from __future__ import annotations

import pytest

from resonate_amqp.core.batch import Batch
from resonate_amqp.core.model import (
    BRANCH,
    EXTERNAL,
    TIMER,
    PromiseState,
    TaskState,
)
from resonate_amqp.core.requests import Group, PromiseCreate
from tests.core.world import (
    DEADLINE,
    NOW,
    World,
    acquire,
    call,
    external,
    fence,
    fulfill,
    heartbeat,
    listener,
    release,
    settle,
    suspend,
)

CANCELED = PromiseState.REJECTED_CANCELED
PENDING = PromiseState.PENDING
RESOLVED = PromiseState.RESOLVED


def child(promise_id: str, branch: str, timeout_at: int = DEADLINE, **tags: str) -> PromiseCreate:
    """A call that the task `branch` issued."""
    return call(promise_id, timeout_at, branch=branch, **tags)


def tree() -> World:
    """r, held by h1, has issued a call r:1, which has issued r:1.1, a sleep r:2, a step r:3."""
    world = World()
    world.run(call("r"), acquire("r"))
    world.run(fence("r", child("r:1", "r")), acquire("r:1", holder="h2", ticket="t2"))
    world.ask(fence("r:1", child("r:1.1", "r:1"), holder="h2"))
    for promise_id, kind in (("r:2", {TIMER: "true"}), ("r:3", {})):
        tags = {BRANCH: "r"} | kind
        world.ask(fence("r", PromiseCreate(id=promise_id, timeout_at=DEADLINE, tags=tags)))
    return world


def cancel(world: World, promise_id: str = "r") -> None:
    assert world.ask(settle(promise_id, CANCELED), "cancel").applied


def test_what_a_canceled_promise_has_issued_is_canceled_at_every_depth() -> None:
    world = tree()
    world.now += 7
    cancel(world)
    for promise_id in ("r", "r:1", "r:1.1", "r:2", "r:3"):
        promise = world.promise(promise_id)
        assert (promise.state, promise.settled_at) == (CANCELED, NOW + 7)
        assert promise.settled_by == "cancel"
    assert {task.state for task in world.ledger.tasks.values()} == {TaskState.FULFILLED}
    assert list(world.ledger.offers) == []


def test_a_part_of_a_tree_may_be_canceled_alone() -> None:
    world = tree()
    cancel(world, "r:1")
    assert world.promise("r:1.1").state is CANCELED
    assert [world.promise(one).state for one in ("r", "r:2", "r:3")] == [PENDING] * 3


def test_a_detached_child_and_what_it_issued_go_on() -> None:
    world = tree()
    world.ask(fence("r", child("r:4", "r", detached="true")))
    world.ask(acquire("r:4", holder="h4", ticket="t4"))
    world.ask(fence("r:4", child("r:4.1", "r:4"), holder="h4"))
    cancel(world)
    assert [world.promise(one).state for one in ("r:4", "r:4.1")] == [PENDING, PENDING]
    assert world.task("r:4").holder == "h4"


def test_a_tag_that_says_something_else_detaches_nothing() -> None:
    world = tree()
    world.ask(fence("r", child("r:4", "r", detached="false")))
    cancel(world)
    assert world.promise("r:4").state is CANCELED


def test_a_settled_child_keeps_its_outcome() -> None:
    world = tree()
    before = world.ask(settle("r:1", RESOLVED)).promise
    cancel(world)
    assert world.promise("r:1") == before


def test_a_child_past_its_deadline_is_settled_by_it_and_what_it_issued_is_canceled() -> None:
    world = tree()
    world.ask(fence("r", child("r:5", "r", NOW + 10)))
    world.ask(acquire("r:5", holder="h5", ticket="t5"))
    world.ask(fence("r:5", child("r:5.1", "r:5"), holder="h5"))
    world.now += 10
    cancel(world)
    late = world.promise("r:5")
    assert (late.state, late.settled_at) == (PromiseState.REJECTED_TIMEDOUT, NOW + 10)
    assert world.promise("r:5.1").state is CANCELED


@pytest.mark.parametrize("verdict", [RESOLVED, PromiseState.REJECTED])
def test_another_verdict_leaves_the_children_alone(verdict: PromiseState) -> None:
    world = tree()
    world.ask(settle("r", verdict))
    assert world.promise("r:1").state is PENDING


def test_a_deadline_cancels_nothing() -> None:
    world = World()
    world.run(call("r", 2_000), acquire("r"))
    world.ask(fence("r", child("r:1", "r")))
    world.now = 2_000
    world.ask(settle("r", CANCELED))
    assert world.promise("r").state is PromiseState.REJECTED_TIMEDOUT
    assert world.promise("r:1").state is PENDING


def test_a_holder_that_fulfils_with_a_cancellation_cancels_its_children_too() -> None:
    world = tree()
    assert world.ask(fulfill("r", state=CANCELED)).applied
    assert world.promise("r:1.1").state is CANCELED


def test_a_cancellation_asked_again_answers_as_first_and_writes_nothing() -> None:
    world = tree()
    cancel(world)
    ended = world.state()
    again = world.ask(settle("r", CANCELED), "cancel")
    assert (again.status, again.applied) == (200, True)
    assert world.ask(settle("r", CANCELED), "another").applied is False
    assert world.state() == ended


def test_whoever_listens_to_a_canceled_child_is_told() -> None:
    world = tree()
    world.ask(listener("r:1.1"))
    cancel(world)
    assert [unblock.promise.id for unblock in world.outcome.unblocks] == ["r:1.1"]


def test_an_awaiter_outside_the_tree_is_resumed_by_a_canceled_child() -> None:
    world = tree()
    world.run(call("o"), acquire("o", holder="h9", ticket="t9"))
    world.ask(suspend("o", "r:1.1", "r:2", holder="h9"))
    cancel(world)
    task = world.task("o")
    assert (task.state, set(task.resumes)) == (TaskState.PENDING, {"r:1.1", "r:2"})
    assert len(world.rows("o")) == 1


def test_an_awaiter_inside_the_tree_is_canceled_and_not_offered() -> None:
    world = tree()
    world.ask(suspend("r:1", "r:1.1", holder="h2"))
    cancel(world)
    assert world.task("r:1").state is TaskState.FULFILLED
    assert world.rows("r:1") == []


def test_the_holder_of_a_canceled_task_hears_of_it_at_its_next_word() -> None:
    world = tree()
    cancel(world)
    assert world.ask(fence("r", external("r:9"))).status == 409
    assert world.ask(heartbeat("r")).lost == ("h1",)
    late = world.ask(fulfill("r"))
    assert (late.status, late.applied) == (200, False)
    assert late.promise is not None
    assert late.promise.state is CANCELED


def test_children_of_the_same_batch_are_canceled_with_what_is_stored() -> None:
    world = World()
    world.run(call("r"), acquire("r"), fence("r", child("r:1", "r")))
    steps = (fence("r", child("r:2", "r")), settle("r", CANCELED))
    world.ledger.apply(Batch(groups=(Group(id="g", steps=steps),)), world.now)
    assert [world.promise(one).state for one in ("r:1", "r:2")] == [CANCELED, CANCELED]


def test_a_promise_without_children_is_canceled_alone() -> None:
    world = World()
    world.run(external("a"), external("b"))
    cancel(world, "a")
    assert world.promise("b").state is PENDING


def test_a_released_child_that_waits_for_its_delay_is_canceled() -> None:
    world = tree()
    world.ask(release("r:1", holder="h2", delay=500))
    cancel(world)
    assert (world.task("r:1").state, world.rows("r:1")) == (TaskState.FULFILLED, [])


def test_a_tree_deeper_than_any_stack_is_canceled_whole() -> None:
    world = World()
    names = ["r", *(f"r:{n}" for n in range(1, 3_000))]
    steps = [
        PromiseCreate(id=name, timeout_at=DEADLINE, tags={BRANCH: above, EXTERNAL: "true"})
        for name, above in zip(names, names[:1] + names[:-1], strict=True)
    ]
    world.ledger.apply(Batch(groups=(Group(id="g", steps=tuple(steps)),)), NOW)
    group = Group(id="g", steps=(settle("r", CANCELED),))
    world.ledger.apply(Batch(groups=(group,)), NOW)
    assert {promise.state for promise in world.ledger.promises.values()} == {CANCELED}


def test_what_another_tree_calls_a_branch_of_it_is_left_alone() -> None:
    """It may be another ledger's, which would not hear of what is written there."""
    world = World()
    for create in (call("r"), child("other:1", "r")):
        world.ask(create)
    world.ask(settle("r", CANCELED))
    assert world.promise("other:1").state is PENDING
