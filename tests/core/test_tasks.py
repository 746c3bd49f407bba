"""What the holder of a task may do with it, and what anybody may do to a task."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resonate_amqp.core.model import PromiseState, TaskState, Value
from resonate_amqp.core.requests import (
    Request,
    TaskContinue,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskRelease,
    TaskSuspend,
)
from resonate_amqp.core.timers import TimerKind
from tests.core.world import (
    DEADLINE,
    NOW,
    World,
    acquire,
    call,
    callback,
    created,
    external,
    fence,
    fulfill,
    internal,
    redelivery,
    release,
    settle,
    suspend,
    timer,
)

Held = TaskFence | TaskSuspend | TaskFulfill | TaskRelease

HELD: list[Held] = [
    fence("r", internal("r:9")),
    fence("r", settle("r:1")),
    suspend("r", "r:1"),
    fulfill("r"),
    release("r"),
]


def leased() -> World:
    """A world in which h1 holds task r at version 1 and recorded the external child r:1."""
    world = World()
    world.run(call("r"), acquire("r"), fence("r", external("r:1")))
    return world


def named(request: Held) -> str:
    return (
        f"{request.kind} {request.action.kind}" if isinstance(request, TaskFence) else request.kind
    )


@pytest.mark.parametrize("request_", HELD, ids=named)
def test_the_holder_at_its_version_may(request_: Held) -> None:
    assert leased().ask(request_).status == 200


@pytest.mark.parametrize("request_", HELD, ids=named)
def test_another_holder_at_that_version_may_not(request_: Held) -> None:
    world = leased()
    before = world.state()
    assert world.ask(replace(request_, holder="h2")).status == 409
    assert world.state() == before


@pytest.mark.parametrize("request_", HELD, ids=named)
@pytest.mark.parametrize("version", [0, 2])
def test_the_holder_at_another_version_may_not(request_: Held, version: int) -> None:
    world = leased()
    before = world.state()
    assert world.ask(replace(request_, version=version)).status == 409
    assert world.state() == before


@pytest.mark.parametrize("request_", HELD, ids=named)
def test_nobody_holds_a_task_that_was_never_acquired(request_: Held) -> None:
    world = World()
    world.run(call("r"), external("r:1"))
    for holder in ("h1", ""):
        assert world.ask(replace(request_, version=0, holder=holder)).status == 409


@pytest.mark.parametrize("request_", HELD[2:], ids=named)
def test_an_absent_task_is_held_by_nobody(request_: Held) -> None:
    assert World().ask(request_).status == 404


@pytest.mark.parametrize("request_", HELD[:2], ids=named)
def test_a_fence_past_the_deadline_writes_nothing(request_: Held) -> None:
    world = World()
    world.run(call("r"), acquire("r"), fence("r", external("r:1", DEADLINE * 2)))
    world.now = DEADLINE
    assert world.ask(request_).status == 409
    assert "r:9" not in world.ledger.promises
    assert world.promise("r:1").pending


def test_a_fence_creates_a_child_with_its_task() -> None:
    world = leased()
    response = world.ask(fence("r", call("r:2")))
    assert (response.promise, response.task) == (world.promise("r:2"), world.task("r:2"))


def test_a_fence_settles_a_child() -> None:
    world = leased()
    response = world.ask(fence("r", settle("r:1")))
    assert response.applied
    assert world.promise("r:1").state is PromiseState.RESOLVED


def test_a_fence_cannot_act_on_its_own_promise() -> None:
    assert leased().ask(fence("r", settle("r"))).status == 400


def test_a_fence_cannot_act_on_another_tree() -> None:
    assert leased().ask(fence("r", internal("s:1"))).status == 400


def test_a_fence_cannot_settle_an_absent_promise() -> None:
    assert leased().ask(fence("r", settle("r:7"))).status == 404


def test_a_suspend_gives_the_lease_up_until_something_awaited_is_settled() -> None:
    world = leased()
    world.ask(suspend("r", "r:1"))
    assert world.task("r").state is TaskState.SUSPENDED
    assert world.promise("r:1").callbacks == ("r",)


def test_a_suspend_on_something_settled_is_redirected_and_the_lease_stands() -> None:
    world = leased()
    world.run(fence("r", external("r:2")), settle("r:2"))
    response = world.ask(suspend("r", "r:1", "r:2"))
    assert response.status == 300
    assert [promise.id for promise in response.preload] == ["r:2"]
    assert world.task("r").state is TaskState.ACQUIRED
    assert world.promise("r:1").callbacks == ()


def test_a_redirected_suspend_clears_what_the_task_was_told() -> None:
    world = leased()
    world.run(callback("r:1", "r"), settle("r:1"))
    assert world.task("r").resumes == ("r:1",)
    response = world.ask(suspend("r", "r:1"))
    assert response.task == world.task("r")
    assert world.task("r").resumes == ()


def test_a_suspend_that_finds_a_passed_deadline_clears_what_it_is_told_by_it() -> None:
    world = leased()
    world.run(fence("r", external("r:2", 2_000)), callback("r:2", "r"))
    world.now = 2_000
    response = world.ask(suspend("r", "r:2"))
    assert (response.status, response.task) == (300, world.task("r"))
    assert world.task("r").resumes == ()


def test_a_suspend_on_nothing_is_refused() -> None:
    assert leased().ask(suspend("r")).status == 400


def test_a_suspend_on_itself_is_refused() -> None:
    assert leased().ask(suspend("r", "r:1", "r")).status == 400


@pytest.mark.parametrize("awaited", ["r:7", "r:8"], ids=["absent", "internal"])
def test_a_suspend_on_what_cannot_be_awaited_changes_nothing(awaited: str) -> None:
    world = leased()
    world.ask(fence("r", internal("r:8")))
    before = world.state()
    assert world.ask(suspend("r", "r:1", awaited)).status == 422
    assert world.state() == before


def test_a_suspend_naming_a_promise_twice_awaits_it_once() -> None:
    world = leased()
    assert world.ask(suspend("r", "r:1", "r:1")).status == 200
    assert world.promise("r:1").callbacks == ("r",)


def test_a_suspended_task_wakes_by_the_deadline_of_what_it_awaits() -> None:
    world = leased()
    world.run(fence("r", timer("r:2", 2_000)), suspend("r", "r:2"))
    world.now = 2_000
    world.fire(TimerKind.DEADLINE, "r:2")
    assert world.task("r").resumes == ("r:2",)


def test_a_fulfil_settles_the_promise_of_the_task() -> None:
    world = leased()
    response = world.ask(fulfill("r", state=PromiseState.REJECTED, value=Value({}, "1")))
    assert (response.applied, response.promise) == (True, world.promise("r"))
    assert world.promise("r").state is PromiseState.REJECTED
    assert (response.task, world.task("r").state) == (world.task("r"), TaskState.FULFILLED)


def test_a_fulfil_can_settle_no_other_promise() -> None:
    request = replace(fulfill("r"), action=settle("r:1"))
    assert leased().ask(request).status == 400


def test_a_fulfil_cannot_time_a_promise_out() -> None:
    assert leased().ask(fulfill("r", state=PromiseState.REJECTED_TIMEDOUT)).status == 400


def test_a_fulfil_of_a_promise_settled_by_somebody_else_answers_that_outcome() -> None:
    world = leased()
    world.ask(settle("r", PromiseState.REJECTED_CANCELED), "g1")
    response = world.ask(fulfill("r"), "g2")
    assert (response.status, response.applied) == (200, False)
    assert response.promise == world.promise("r")


def test_a_release_offers_the_task_at_once_at_the_same_version() -> None:
    world = leased()
    world.ask(release("r"))
    assert (world.task("r").state, world.task("r").retry_at) == (TaskState.PENDING, NOW)
    assert [row.version for row in world.rows("r")] == [1]


def test_a_release_with_a_delay_offers_the_task_after_it() -> None:
    world = leased()
    world.ask(release("r", delay=500))
    assert (world.task("r").retry_at, world.rows("r")) == (NOW + 500, [])


def test_a_release_with_a_negative_delay_offers_the_task_at_once() -> None:
    world = leased()
    world.ask(release("r", delay=-5))
    assert world.task("r").offered


def test_every_entry_into_pending_writes_an_outbox_row_of_its_own() -> None:
    world = leased()
    world.ask(release("r"))
    first = world.rows("r")
    world.run(acquire("r", 1, "h2", "t2"), release("r", 2, "h2"))
    second = world.rows("r")
    assert (len(first), len(second)) == (1, 1)
    assert second[0].serial > first[0].serial


def states() -> list[tuple[Request, ...]]:
    took = (acquire("r"),)
    return [
        (),
        took,
        (*took, fence("r", external("r:1")), suspend("r", "r:1")),
        (TaskHalt(id="r"),),
    ]


@pytest.mark.parametrize("steps", states(), ids=["pending", "acquired", "suspended", "halted"])
def test_every_live_task_can_be_halted(steps: tuple[Request, ...]) -> None:
    world = World()
    world.run(call("r"), *steps)
    assert world.ask(TaskHalt(id="r", reason="why")).status == 200
    assert world.task("r").state is TaskState.HALTED
    assert (world.rows("r"), world.promise("r").pending) == ([], True)


def test_a_halted_task_keeps_its_first_reason() -> None:
    world = World()
    world.run(call("r"), TaskHalt(id="r", reason="first"), TaskHalt(id="r", reason="second"))
    assert world.task("r").reason == "first"


def test_a_fulfilled_task_cannot_be_halted() -> None:
    world = World()
    world.run(call("r"), settle("r"))
    assert world.ask(TaskHalt(id="r")).status == 409


def test_a_task_past_its_deadline_cannot_be_halted() -> None:
    world = World()
    world.ask(call("r"))
    world.now = DEADLINE
    assert world.ask(TaskHalt(id="r")).status == 409


def test_a_halted_task_is_not_resumed_but_told() -> None:
    world = leased()
    world.run(suspend("r", "r:1"), TaskHalt(id="r"), settle("r:1"))
    assert (world.task("r").state, world.task("r").resumes) == (TaskState.HALTED, ("r:1",))


def test_a_halted_task_that_is_continued_is_offered_again() -> None:
    world = leased()
    world.run(TaskHalt(id="r"), TaskContinue(id="r"))
    assert (world.task("r").state, world.task("r").version) == (TaskState.PENDING, 1)
    assert [row.version for row in world.rows("r")] == [1]


def test_only_a_halted_task_can_be_continued() -> None:
    assert leased().ask(TaskContinue(id="r")).status == 409


def test_a_halted_task_past_its_deadline_cannot_be_continued() -> None:
    world = World()
    world.run(call("r"), TaskHalt(id="r"))
    world.now = DEADLINE
    assert world.ask(TaskContinue(id="r")).status == 409
    assert world.rows("r") == []


@pytest.mark.parametrize("request_", [TaskHalt(id="x"), TaskContinue(id="x"), TaskGet(id="x")])
def test_an_absent_task_is_absent(request_: Request) -> None:
    assert World().ask(request_).status == 404


def test_a_task_is_answered_with_its_promise() -> None:
    world = leased()
    response = world.ask(TaskGet(id="r"))
    assert (response.task, response.promise) == (world.task("r"), world.promise("r"))


def test_a_lease_taken_over_cannot_be_given_up_by_its_former_holder() -> None:
    world = leased()
    world.ask(redelivery("r"))
    assert world.ask(release("r")).status == 409
    assert world.ask(suspend("r", "r:1")).status == 409


MADE_OF = Value({"func": "pay", "digest": "d1"}, "")
MADE_IN = Value({"func": "pay", "digest": "d1", "service": "a"}, "")


@pytest.mark.parametrize(
    ("recorded", "asked", "status"),
    [
        (MADE_OF, {"func": "pay", "digest": "d1"}, 200),
        (MADE_OF, {"func": "pay", "digest": "d2"}, 409),
        (MADE_OF, {"func": "mail", "digest": "d1"}, 409),
        (MADE_OF, {"func": "mail"}, 200),
        (Value({"func": "pay"}, ""), {"func": "pay", "digest": "d1", "service": "a"}, 200),
        (MADE_IN, {"func": "pay", "digest": "d1", "service": "a"}, 200),
        (MADE_IN, {"func": "pay", "digest": "d1", "service": "b"}, 409),
        (MADE_IN, {"func": "pay", "digest": "d1"}, 200),
    ],
)
def test_a_message_with_other_content_takes_no_lease_of_the_promise_it_names(
    recorded: Value, asked: dict[str, str], status: int
) -> None:
    """A promise without a digest was made by a call, whose messages the ledger sends."""
    world = World()
    world.ask(replace(call("order-1"), param=recorded))
    response = world.ask(created(replace(call("order-1"), param=Value(asked, ""))))
    assert response.status == status
    assert response.promise is not None
    task = world.ask(TaskGet(id="order-1")).task
    assert task is not None
    assert (task.state is TaskState.ACQUIRED) == (status == 200)
