"""Who may acquire a task, take its lease over, keep it, and what a refused delivery is told."""

from __future__ import annotations

import pytest

from resonate_amqp.core.batch import Batch
from resonate_amqp.core.effects import PRELOAD_BYTES, PRELOAD_MOST
from resonate_amqp.core.model import BRANCH, PromiseState, TaskState, Value
from resonate_amqp.core.requests import (
    Group,
    Lease,
    PromiseCreate,
    Request,
    TaskContinue,
    TaskHalt,
    TaskHeartbeat,
    Verdict,
)
from resonate_amqp.core.timers import TimerKind
from tests.core.world import (
    DEADLINE,
    NOW,
    TTL,
    World,
    acquire,
    call,
    created,
    external,
    fence,
    fulfill,
    heartbeat,
    internal,
    redelivery,
    release,
    settle,
    suspend,
)


def leased(max_deliveries: int = 10) -> World:
    """A world in which h1 holds task r at version 1 under ticket t1."""
    world = World(max_deliveries)
    world.run(call("r"), acquire("r", redeliveries=0))
    return world


def test_an_acquisition_raises_the_version_by_one_and_leases_the_task() -> None:
    task = leased().task("r")
    assert (task.state, task.version, task.expires_at) == (TaskState.ACQUIRED, 1, NOW + TTL)
    assert (task.pid, task.holder, task.ticket) == ("p1", "h1", "t1")


def test_an_acquisition_answers_the_task_and_the_promise_that_no_execute_carried() -> None:
    world = World()
    response = world.run(call("r"), acquire("r", ticket=""))[-1]
    assert (response.task, response.promise) == (world.task("r"), world.promise("r"))
    other = World()
    response = other.run(call("r"), acquire("r"))[-1]
    assert (response.task, response.promise) == (other.task("r"), None)


def test_acquiring_a_task_voids_its_outbox_row() -> None:
    assert leased().rows("r") == []


def test_a_task_is_acquired_by_nobody_without_a_holder() -> None:
    world = World()
    world.ask(call("r"))
    assert world.ask(acquire("r", holder="")).status == 400
    assert world.ask(acquire("r", holder="", ticket="")).status == 400
    assert world.ask(created(call("r"), holder="")).status == 400


def test_an_absent_task_is_acknowledged() -> None:
    response = World().ask(acquire("r"))
    assert (response.status, response.verdict) == (404, Verdict.ACK)


def test_a_task_pending_at_another_version_is_acknowledged() -> None:
    world = World()
    world.ask(call("r"))
    response = world.ask(acquire("r", version=1))
    assert (response.status, response.verdict) == (409, Verdict.ACK)


@pytest.mark.parametrize(
    "ending",
    [
        (fulfill("r"),),
        (fence("r", external("r:1")), suspend("r", "r:1")),
        (TaskHalt(id="r"),),
        (settle("r"),),
        (release("r"),),
    ],
    ids=lambda steps: steps[-1].kind,
)
def test_a_delivery_of_a_task_that_is_not_leased_is_acknowledged(
    ending: tuple[Request, ...],
) -> None:
    world = leased()
    world.run(*ending)
    response = world.ask(redelivery("r"))
    assert (response.status, response.verdict) == (409, Verdict.ACK)


def test_a_task_past_its_deadline_is_acknowledged() -> None:
    world = World()
    world.ask(call("r"))
    world.now = DEADLINE
    response = world.ask(acquire("r"))
    assert (response.status, response.verdict) == (409, Verdict.ACK)


def test_a_redelivery_of_the_same_ticket_takes_the_lease_over() -> None:
    world = leased()
    response = world.ask(redelivery("r"))
    assert response.status == 200
    assert (world.task("r").version, world.task("r").holder) == (2, "h2")


def test_a_takeover_leaves_no_outbox_row() -> None:
    world = leased()
    world.ask(redelivery("r"))
    assert world.rows("r") == []
    assert world.outcome.executes == ()


@pytest.mark.parametrize("version", [0, 1, 7])
def test_a_takeover_succeeds_whatever_version_the_execute_names(version: int) -> None:
    world = leased()
    assert world.ask(redelivery("r", version=version)).status == 200


def test_a_takeover_makes_the_former_holder_harmless() -> None:
    world = leased()
    world.ask(redelivery("r"))
    assert world.ask(fence("r", internal("r:1"))).status == 409
    assert world.ask(fulfill("r")).status == 409


def test_another_ticket_takes_nothing_over_and_is_acknowledged() -> None:
    world = leased()
    response = world.ask(redelivery("r", ticket="t2", version=1))
    assert (response.status, response.verdict) == (409, Verdict.ACK)


def test_a_delivery_that_was_not_redelivered_takes_nothing_over_and_goes_back() -> None:
    world = leased()
    response = world.ask(acquire("r", holder="h2", redeliveries=5))
    assert (response.status, response.verdict) == (409, Verdict.RETURN)


def test_a_redelivery_with_a_lower_count_takes_nothing_over_and_goes_back() -> None:
    world = leased()
    world.ask(redelivery("r", "h2", count=2))
    response = world.ask(redelivery("r", "h3", count=1))
    assert (response.status, response.verdict) == (409, Verdict.RETURN)


def test_a_redelivery_with_the_same_count_takes_the_lease_over() -> None:
    world = leased()
    world.ask(redelivery("r", "h2", count=2))
    assert world.ask(redelivery("r", "h3", count=2)).status == 200


def test_a_redelivery_without_a_count_takes_the_lease_over() -> None:
    world = leased()
    assert world.ask(redelivery("r", "h2", count=-1)).status == 200


def test_a_ttl_lease_is_never_taken_over_and_the_delivery_acknowledged() -> None:
    world = World()
    world.ask(created(call("r")))
    for ticket in ("", "t1"):
        response = world.ask(redelivery("r", ticket=ticket))
        assert (response.status, response.verdict) == (409, Verdict.ACK)


def test_too_many_takeovers_without_progress_halt_the_task() -> None:
    world = leased(max_deliveries=2)
    world.run(redelivery("r", "h2"), redelivery("r", "h3"))
    response = world.ask(redelivery("r", "h4"))
    assert (response.status, response.verdict) == (409, Verdict.ACK)
    assert world.task("r").state is TaskState.HALTED
    assert "3 times" in world.task("r").reason


def test_a_recorded_child_is_progress() -> None:
    world = leased(max_deliveries=1)
    world.run(redelivery("r", "h2"), fence("r", internal("r:1"), 2, "h2"))
    assert world.ask(redelivery("r", "h3")).status == 200


def test_a_suspend_is_progress() -> None:
    world = leased(max_deliveries=1)
    world.ask(external("x"))
    world.run(redelivery("r", "h2"), suspend("r", "x", version=2, holder="h2"), settle("x"))
    world.ask(acquire("r", 2, "h3", "t3"))
    assert world.ask(redelivery("r", "h4", "t3")).status == 200


def test_a_fence_that_repeats_a_child_is_no_progress() -> None:
    world = leased(max_deliveries=1)
    world.ask(fence("r", internal("r:1")))
    world.run(redelivery("r", "h2"), fence("r", internal("r:1"), 2, "h2"))
    assert world.ask(redelivery("r", "h3")).status == 409


def test_a_halted_task_that_is_continued_counts_anew() -> None:
    world = leased(max_deliveries=0)
    world.ask(redelivery("r", "h2"))
    world.run(TaskContinue(id="r"), acquire("r", 1, "h3", "t3"))
    assert (world.task("r").deliveries, world.task("r").reason) == (0, "")


def test_an_acquire_repeated_by_its_holder_answers_as_first() -> None:
    world = leased()
    first = world.task("r")
    response = world.ask(acquire("r", redeliveries=0))
    assert (response.status, response.task, world.task("r")) == (200, first, first)


@pytest.mark.parametrize("ending", [release("r"), fulfill("r")], ids=lambda request: request.kind)
def test_an_acquire_repeated_after_its_lease_ended_answers_200(ending: Request) -> None:
    world = leased()
    world.ask(ending)
    ended = world.task("r")
    assert world.ask(acquire("r")).status == 200
    assert world.task("r") == ended


def test_a_takeover_repeated_by_its_holder_answers_as_first() -> None:
    world = leased()
    world.ask(redelivery("r"))
    assert world.ask(redelivery("r")).status == 200
    assert world.task("r").version == 2


def test_an_acquire_repeated_after_its_lease_was_taken_over_goes_back() -> None:
    world = leased()
    world.ask(redelivery("r"))
    response = world.ask(acquire("r"))
    assert (response.status, response.verdict) == (409, Verdict.RETURN)


def test_an_acquire_repeated_after_its_lease_expired_acquires_nothing() -> None:
    world = leased()
    world.now += TTL
    world.fire(TimerKind.LEASE, "r")
    assert world.ask(acquire("r", version=0)).status == 409


def test_the_pid_of_a_ttl_lease_may_acquire_the_task_again_later() -> None:
    world = World()
    world.run(call("r"), acquire("r", holder="p1", ticket=""), release("r", holder="p1"))
    response = world.ask(acquire("r", version=1, holder="p1", ticket=""))
    assert response.status == 200
    assert (world.task("r").state, world.task("r").version) == (TaskState.ACQUIRED, 2)


def test_an_acquire_of_a_ttl_lease_repeated_by_its_holder_answers_as_first() -> None:
    world = World()
    again = acquire("r", holder="p1", ticket="")
    assert [response.status for response in world.run(call("r"), again, again)] == [200] * 3
    assert world.task("r").version == 1


def test_a_first_acquisition_preloads_nothing() -> None:
    world = World()
    world.run(call("r"), call("r:1", branch="r"), settle("r:1"))
    assert world.ask(acquire("r")).preload == ()


def test_a_later_acquisition_preloads_the_settled_children_oldest_first() -> None:
    world = leased()
    for child in ("r:2", "r:1", "r:3"):
        world.ask(fence("r", call(child, branch="r")))
        world.now += 1
    world.run(settle("r:1"), settle("r:2"), release("r"))
    preload = world.ask(acquire("r", 1, "h2", "t2")).preload
    assert [child.id for child in preload] == ["r:2", "r:1"]


@pytest.mark.parametrize(("number", "size"), [(3, PRELOAD_BYTES // 2), (PRELOAD_MOST + 1, 0)])
def test_a_preload_is_bounded_and_says_that_there_is_more(number: int, size: int) -> None:
    world = leased()
    value = Value({}, "x" * size)
    steps = [settle(f"r:{n}", value=value) for n in range(number)]
    children = [call(f"r:{n}", branch="r") for n in range(number)]
    world.ledger.apply(Batch(groups=[Group(id="g", steps=(*children, *steps))]), NOW)
    world.ask(release("r"))
    response = world.ask(acquire("r", 1, "h2", "t2"))
    assert (len(response.preload), response.more) == (number - 1, True)


def test_task_create_acquires_the_task_of_a_new_promise() -> None:
    world = World()
    response = world.ask(created(call("r")))
    assert response.status == 200
    task = world.task("r")
    assert (task.state, task.version, task.ticket) == (TaskState.ACQUIRED, 1, "")


def test_task_create_acquires_the_pending_task_of_an_existing_promise() -> None:
    world = World()
    world.run(call("r"), created(call("r")))
    assert (world.task("r").version, world.rows("r")) == (1, [])


def test_task_create_of_a_leased_task_is_refused() -> None:
    assert leased().ask(created(call("r"), holder="h2")).status == 409


def test_task_create_of_a_settled_promise_answers_its_record() -> None:
    world = World()
    world.run(call("r"), settle("r"))
    response = world.ask(created(call("r")))
    assert (response.status, response.promise) == (200, world.promise("r"))


def test_task_create_without_target_creates_nothing() -> None:
    world = World()
    assert world.ask(created(external("r"))).status == 400
    assert world.ledger.promises == {}


def test_task_create_of_an_existing_promise_without_task_is_refused() -> None:
    world = World()
    world.ask(external("r"))
    assert world.ask(created(call("r"))).status == 422


def test_task_create_repeated_by_its_holder_answers_as_first() -> None:
    world = World()
    world.ask(created(call("r")))
    first = world.task("r")
    response = world.ask(created(call("r")))
    assert (response.status, response.task, world.task("r")) == (200, first, first)


def test_task_create_repeated_past_the_deadline_shows_the_task_fulfilled() -> None:
    world = World()
    world.ask(created(call("r")))
    world.now = DEADLINE
    response = world.ask(created(call("r")))
    assert response.task is not None
    assert response.task.state is TaskState.FULFILLED


def test_a_heartbeat_extends_the_lease_of_its_holder() -> None:
    world = leased()
    world.now += 100
    assert world.ask(heartbeat("r")).lost == ()
    assert world.task("r").expires_at == world.now + TTL


@pytest.mark.parametrize(
    "stale", [heartbeat("r", version=2), heartbeat("r", holder="h2"), heartbeat("x")]
)
def test_a_heartbeat_needs_version_and_holder(stale: TaskHeartbeat) -> None:
    world = leased()
    before = world.task("r")
    world.now += 100
    response = world.ask(stale)
    assert (response.status, response.lost) == (200, (stale.tasks[0].holder,))
    assert world.task("r") == before


def test_a_heartbeat_refreshes_what_stands_and_names_what_is_lost() -> None:
    world = leased()
    leases = (
        Lease(id="x", version=1, holder="h2"),
        Lease(id="r", version=1, holder="h1"),
        Lease(id="r", version=0, holder="h0"),
    )
    assert world.ask(TaskHeartbeat(pid="p1", tasks=leases)).lost == ("h2", "h0")


def test_a_heartbeat_past_the_deadline_refreshes_nothing() -> None:
    world = leased()
    world.now = DEADLINE
    assert world.ask(heartbeat("r")).lost == ("h1",)
    assert world.promise("r").state is PromiseState.REJECTED_TIMEDOUT


def test_a_repeated_create_answers_the_recorded_steps_again() -> None:
    world = leased()
    step = PromiseCreate(id="r:1", timeout_at=DEADLINE, tags={BRANCH: "r"})
    world.run(fence("r", step), fence("r", settle("r:1")), release("r"))
    create_again = created(call("r"), holder="h9")
    first = world.ask(create_again)
    assert first.task is not None
    assert first.task.version == 2
    assert [child.id for child in first.preload] == ["r:1"]
    assert world.ask(create_again) == first
