"""Transitions of promises."""

from __future__ import annotations

import pytest

from resonate_amqp.core.batch import Batch
from resonate_amqp.core.model import DELAY, TARGET, TIMER, PromiseState, TaskState, Value
from resonate_amqp.core.requests import Group, PromiseCreate, PromiseGet, Request, TaskGet
from resonate_amqp.core.timers import TimerKind
from tests.core.world import (
    DEADLINE,
    NOW,
    TARGET_A,
    World,
    acquire,
    call,
    callback,
    external,
    fence,
    internal,
    listener,
    settle,
    suspend,
    timer,
)

RESOLVED = PromiseState.RESOLVED
REJECTED = PromiseState.REJECTED
TIMEDOUT = PromiseState.REJECTED_TIMEDOUT


def test_a_new_promise_is_pending_and_created_now() -> None:
    promise = World().ask(external("a")).promise
    assert promise is not None
    assert (promise.state, promise.created_at) == (PromiseState.PENDING, NOW)


def test_creating_an_existing_promise_answers_the_existing_record() -> None:
    world = World()
    first = world.ask(external("a"))
    again = world.ask(call("a", DEADLINE + 1))
    assert (again.status, again.promise) == (200, first.promise)


def test_a_promise_that_does_not_exist_is_absent() -> None:
    assert World().ask(PromiseGet(id="a")).status == 404


def test_a_targeted_promise_is_born_with_an_offered_task() -> None:
    world = World()
    world.ask(call("a"))
    assert (world.task("a").state, world.task("a").version) == (TaskState.PENDING, 0)
    assert [(row.version, row.target) for row in world.rows("a")] == [(0, TARGET_A)]


def test_a_promise_without_target_has_no_task() -> None:
    world = World()
    world.ask(external("a"))
    assert world.ledger.tasks == {}


def test_a_promise_past_its_deadline_is_born_settled_at_its_deadline() -> None:
    world = World()
    promise = world.ask(call("a", NOW)).promise
    assert promise is not None
    assert (promise.state, promise.created_at, promise.settled_at) == (TIMEDOUT, NOW, NOW)


def test_a_promise_born_settled_has_a_fulfilled_task_and_no_outbox_row() -> None:
    world = World()
    world.ask(call("a", NOW - 1))
    assert world.task("a").state is TaskState.FULFILLED
    assert world.rows("a") == []


def test_a_timer_past_its_deadline_is_born_resolved() -> None:
    promise = World().ask(timer("a", NOW - 1)).promise
    assert promise is not None
    assert promise.state is RESOLVED


def test_a_timer_cannot_have_a_target() -> None:
    tags = {TIMER: "true", TARGET: TARGET_A}
    world = World()
    assert world.ask(PromiseCreate(id="a", timeout_at=DEADLINE, tags=tags)).status == 400
    assert world.ledger.promises == {}


@pytest.mark.parametrize(
    "delay", ["", "x", "-1", "1.5", "²", str(DEADLINE), "9" * 5000], ids=lambda text: text[:8]
)
def test_a_delay_that_is_no_instant_before_the_deadline_is_refused(delay: str) -> None:
    assert World().ask(call("a", delay=delay)).status == 400


def test_a_delay_without_target_is_refused() -> None:
    delayed = PromiseCreate(id="a", timeout_at=DEADLINE, tags={DELAY: "2000"})
    assert World().ask(delayed).status == 400


def test_a_delayed_task_has_no_outbox_row_before_its_instant() -> None:
    world = World()
    world.ask(call("a", delay="2000"))
    assert (world.task("a").retry_at, world.task("a").offered) == (2000, False)
    assert world.rows("a") == []


def test_a_delay_that_has_passed_is_none() -> None:
    world = World()
    world.ask(call("a", delay="1"))
    assert (world.task("a").retry_at, world.task("a").offered) == (NOW, True)


def test_settling_records_state_value_instant_and_group() -> None:
    world = World()
    world.ask(external("a"))
    value = Value({"k": "v"}, "MQ==")
    promise = world.ask(settle("a", REJECTED, value), "g7").promise
    assert promise is not None
    assert (promise.state, promise.value) == (REJECTED, value)
    assert (promise.settled_at, promise.settled_by) == (NOW, "g7")


def test_settling_an_absent_promise_is_refused() -> None:
    assert World().ask(settle("a")).status == 404


@pytest.mark.parametrize("state", [PromiseState.PENDING, TIMEDOUT])
def test_a_request_settles_only_as_resolved_rejected_or_canceled(state: PromiseState) -> None:
    world = World()
    world.ask(external("a"))
    assert world.ask(settle("a", state)).status == 400


def test_a_settled_promise_keeps_its_first_outcome() -> None:
    world = World()
    world.ask(external("a"))
    first = world.ask(settle("a", RESOLVED, Value({}, "1")), "g1").promise
    second = world.ask(settle("a", REJECTED, Value({}, "2")), "g2")
    assert (second.status, second.promise) == (200, first)


def test_only_the_group_that_settled_a_promise_is_told_that_it_did() -> None:
    world = World()
    world.ask(external("a"))
    answers = [world.ask(settle("a"), group).applied for group in ("g1", "g2", "g1")]
    assert answers == [True, False, True]


def test_a_settle_at_the_instant_of_the_deadline_comes_too_late() -> None:
    world = World()
    world.ask(external("a"))
    world.now = DEADLINE
    late = world.ask(settle("a"))
    assert late.promise is not None
    assert (late.status, late.promise.state, late.applied) == (200, TIMEDOUT, False)


@pytest.mark.parametrize(
    "touch",
    [PromiseGet(id="a"), TaskGet(id="a"), call("a"), settle("a"), listener("a")],
    ids=lambda request: request.kind,
)
def test_every_answer_shows_a_promise_past_its_deadline_as_settled(touch: Request) -> None:
    world = World()
    world.ask(call("a"))
    world.now = DEADLINE + 5
    promise = world.ask(touch).promise
    assert promise is not None
    assert (promise.state, promise.settled_at) == (TIMEDOUT, DEADLINE)


def test_a_timer_is_resolved_by_its_deadline() -> None:
    world = World()
    world.ask(timer("a"))
    world.now = DEADLINE
    promise = world.ask(PromiseGet(id="a")).promise
    assert promise is not None
    assert (promise.state, promise.settled_by) == (RESOLVED, "")


def test_settling_a_promise_fulfils_its_task_and_voids_its_outbox_row() -> None:
    world = World()
    world.ask(call("a"))
    world.ask(settle("a"))
    assert world.task("a").state is TaskState.FULFILLED
    assert world.rows("a") == []


def asleep(world: World, awaiter: str = "r", *awaited: str, timeout_at: int = DEADLINE) -> None:
    """Suspend a task on children of its own that do not exist yet."""
    world.ask(call(awaiter, timeout_at))
    world.ask(acquire(awaiter))
    for child in awaited:
        world.ask(fence(awaiter, external(child)))
    assert world.ask(suspend(awaiter, *awaited)).status == 200


def test_settling_resumes_a_suspended_awaiter() -> None:
    world = World()
    asleep(world, "r", "r:1")
    world.ask(settle("r:1"))
    task = world.task("r")
    assert (task.state, task.version, task.resumes) == (TaskState.PENDING, 1, ("r:1",))
    assert [row.version for row in world.rows("r")] == [1]


def test_a_resume_checks_the_deadline_of_the_awaiter_itself() -> None:
    world = World()
    asleep(world, "r", "r:1", timeout_at=5_000)
    world.now = 5_000
    world.ask(settle("r:1"))
    assert world.promise("r").state is TIMEDOUT
    assert world.task("r").state is TaskState.FULFILLED
    assert world.rows("r") == []


def test_a_resume_by_a_deadline_recorded_late_checks_the_awaiter_at_present() -> None:
    world = World()
    world.run(call("r", 3_000), external("x", 2_000), acquire("r"), suspend("r", "x"))
    world.now = 4_000
    world.fire(TimerKind.DEADLINE, "x")
    assert (world.promise("r").state, world.rows("r")) == (TIMEDOUT, [])


def test_an_awaiter_that_was_settled_is_not_settled_again_by_what_it_awaited() -> None:
    world = World()
    world.run(call("r", 2_000), external("x"), listener("r"), callback("x", "r"), settle("r"))
    settled = world.promise("r")
    world.now = 3_000
    world.ask(settle("x"))
    assert (world.promise("r"), world.outcome.unblocks) == (settled, ())


def test_settling_tells_an_awake_awaiter_by_its_resumes() -> None:
    world = World()
    world.run(call("r"), external("r:1"), callback("r:1", "r"), settle("r:1"))
    assert world.task("r").resumes == ("r:1",)
    assert [row.version for row in world.rows("r")] == [0]


def test_settling_resumes_every_awaiter() -> None:
    world = World()
    world.ask(external("x"))
    for awaiter in ("r", "s"):
        world.run(call(awaiter), acquire(awaiter), suspend(awaiter, "x"))
    world.ask(settle("x"))
    assert {world.task(awaiter).state for awaiter in "rs"} == {TaskState.PENDING}
    assert world.promise("x").callbacks == ()


def nest(world: World, depth: int, *, outermost_until: int = 5_000) -> None:
    """r0 awaits r1 awaits r2 …: all but the last are suspended, and end at 5,000."""
    groups = []
    for number in range(depth, -1, -1):
        task_id = f"r{number}"
        until = outermost_until if number == 0 else 5_000
        steps: list[Request] = [call(task_id, until), acquire(task_id)]
        if number < depth:
            steps.append(suspend(task_id, f"r{number + 1}"))
        groups.append(Group(id=task_id, steps=tuple(steps)))
    world.ledger.apply(Batch(groups=groups), world.now)


def test_awaiters_nested_2000_deep_end_together_at_their_deadlines() -> None:
    world = World()
    nest(world, 2_000)
    world.now = 5_000
    world.fire(TimerKind.DEADLINE, "r2000")
    assert {promise.state for promise in world.ledger.promises.values()} == {TIMEDOUT}


def test_a_chain_of_expired_awaiters_resumes_the_one_that_is_still_in_time() -> None:
    world = World()
    nest(world, 10, outermost_until=6_000)
    world.now = 5_000
    world.fire(TimerKind.DEADLINE, "r10")
    assert world.task("r0").resumes == ("r1",)
    assert [row.version for row in world.rows("r0")] == [1]


def test_a_promise_cannot_await_itself() -> None:
    world = World()
    world.ask(call("r"))
    assert world.ask(callback("r", "r")).status == 400


def test_a_callback_on_an_absent_promise_is_refused() -> None:
    world = World()
    world.ask(call("r"))
    assert world.ask(callback("x", "r")).status == 404


def test_a_callback_of_an_awaiter_without_task_is_refused() -> None:
    world = World()
    world.run(external("x"), external("y"))
    assert world.ask(callback("x", "y")).status == 422
    assert world.ask(callback("x", "z")).status == 422


@pytest.mark.parametrize("register", [callback("x", "r"), listener("x")], ids=lambda r: r.kind)
def test_nobody_but_its_task_can_await_an_internal_promise(register: Request) -> None:
    world = World()
    world.run(call("r"), internal("x"))
    assert world.ask(register).status == 422


@pytest.mark.parametrize("register", [callback("x", "r"), listener("x")], ids=lambda r: r.kind)
def test_a_settled_promise_is_answered_and_takes_no_registration(register: Request) -> None:
    world = World()
    world.run(call("r"), external("x"), settle("x"))
    response = world.ask(register)
    assert (response.status, response.promise) == (200, world.promise("x"))
    assert world.promise("x").callbacks == world.promise("x").listeners == ()


def test_a_callback_of_a_settled_awaiter_is_not_registered() -> None:
    world = World()
    world.run(call("r"), external("x"), settle("r"))
    assert world.ask(callback("x", "r")).status == 200
    assert world.promise("x").callbacks == ()


@pytest.mark.parametrize("register", [callback("x", "r"), listener("x")], ids=lambda r: r.kind)
def test_registering_twice_registers_once(register: Request) -> None:
    world = World()
    world.run(call("r"), external("x"), register, register)
    promise = world.promise("x")
    assert len(promise.callbacks + promise.listeners) == 1


def test_a_listener_on_an_absent_promise_is_refused() -> None:
    assert World().ask(listener("x")).status == 404


def test_every_listener_of_a_settled_promise_is_notified_once() -> None:
    world = World()
    world.run(external("x"), listener("x", "l1"), listener("x", "l2"), settle("x"))
    unblocks = [(unblock.address, unblock.promise.state) for unblock in world.outcome.unblocks]
    assert unblocks == [("l1", RESOLVED), ("l2", RESOLVED)]
    world.ask(settle("x"))
    assert world.outcome.unblocks == ()


def test_a_settled_promise_keeps_its_listeners_until_they_were_notified() -> None:
    world = World()
    world.run(external("x"), listener("x", "l1"), listener("x", "l2"), settle("x"))
    assert world.promise("x").listeners == ("l1", "l2")
    world.apply(Batch(notified=[("x", "l1")]))
    assert world.promise("x").listeners == ("l2",)


def test_a_listener_of_a_pending_promise_is_never_forgotten() -> None:
    world = World()
    world.run(external("x"), listener("x", "l1"))
    world.apply(Batch(notified=[("x", "l1")]))
    assert world.promise("x").listeners == ("l1",)
