"""Tasks that nobody can run, that were halted, or whose message is gone: how they go on."""

from __future__ import annotations

import pytest

from resonate_amqp.core.model import TaskState
from resonate_amqp.core.requests import Request, TaskContinue, TaskHalt, TaskRedrive, Verdict
from resonate_amqp.core.timers import TimerKind
from tests.core.world import (
    DEADLINE,
    NOW,
    World,
    acquire,
    call,
    callback,
    external,
    fence,
    fulfill,
    halt,
    redelivery,
    release,
    settle,
    suspend,
    unknown,
)


def leased(max_deliveries: int = 10) -> World:
    """A world in which h1 holds task r at version 1 under ticket t1."""
    world = World(max_deliveries)
    world.run(call("r"), acquire("r"))
    return world


def test_a_release_of_what_nobody_knows_counts_as_a_delivery_and_is_offered_later() -> None:
    world = leased()
    response = world.ask(unknown("r"))
    task = world.task("r")
    assert (response.status, response.task) == (200, task)
    assert (task.state, task.deliveries, task.retry_at) == (TaskState.PENDING, 1, NOW + 5)


def test_an_ordinary_release_counts_as_nothing() -> None:
    world = leased()
    world.ask(release("r"))
    assert world.task("r").deliveries == 0


def offered_again(world: World, version: int) -> None:
    """Let the delay pass and have the next worker acquire the task."""
    world.now += 5
    world.fire(TimerKind.RETRY, "r")
    holder, ticket = f"h{version + 1}", f"t{version + 1}"
    assert world.ask(acquire("r", version, holder, ticket)).status == 200


def test_a_task_that_nobody_knows_is_halted_with_the_reason_after_too_many_deliveries() -> None:
    world = leased(max_deliveries=2)
    for version in (1, 2):
        world.ask(unknown("r", version, f"h{version}"))
        offered_again(world, version)
    response = world.ask(unknown("r", 3, "h3", lack="function 'f' is not registered"))
    task = world.task("r")
    assert (response.status, response.task) == (200, task)
    assert (task.state, task.reason) == (TaskState.HALTED, "function 'f' is not registered")
    assert (world.rows("r"), world.promise("r").pending) == ([], True)


def test_takeovers_and_unknown_releases_are_counted_together() -> None:
    world = leased(max_deliveries=1)
    world.ask(redelivery("r"))
    world.ask(unknown("r", 2, "h2"))
    assert world.task("r").state is TaskState.HALTED


@pytest.mark.parametrize("max_deliveries", [10, 0], ids=["offered again", "halted"])
def test_a_release_of_what_nobody_knows_is_counted_once_however_often_it_comes(
    max_deliveries: int,
) -> None:
    world = leased(max_deliveries)
    first = world.ask(unknown("r"))
    ended = world.state()
    again = world.ask(unknown("r"))
    assert (again.status, again.task) == (first.status, first.task)
    assert world.state() == ended


@pytest.mark.parametrize("held", [False, True], ids=["pending", "acquired"])
def test_a_halted_task_keeps_what_resumed_it(held: bool) -> None:
    world = leased()
    world.run(fence("r", external("r:1")))
    world.run(callback("r:1", "r") if held else suspend("r", "r:1"), settle("r:1"))
    world.ask(TaskHalt(id="r"))
    assert (world.task("r").state, world.task("r").resumes) == (TaskState.HALTED, ("r:1",))
    world.ask(TaskContinue(id="r"))
    assert (world.task("r").state, world.task("r").resumes) == (TaskState.PENDING, ("r:1",))


@pytest.mark.parametrize("lost", [unknown("r"), redelivery("r")], ids=["unknown", "taken over"])
def test_a_task_that_is_halted_after_too_many_deliveries_keeps_what_resumed_it(
    lost: Request,
) -> None:
    world = leased(max_deliveries=0)
    world.run(fence("r", external("r:1")), callback("r:1", "r"), settle("r:1"))
    world.ask(lost)
    assert (world.task("r").state, world.task("r").resumes) == (TaskState.HALTED, ("r:1",))


def test_a_halted_task_whose_function_is_known_again_runs_when_it_is_continued() -> None:
    world = leased(max_deliveries=0)
    world.run(unknown("r"), TaskContinue(id="r"))
    assert (world.task("r").deliveries, world.task("r").reason) == (0, "")
    assert world.ask(acquire("r", 1, "h2", "t2")).status == 200


def test_a_holder_halts_its_task_for_a_reason() -> None:
    world = leased()
    response = world.ask(halt("r", reason="it differs"))
    task = world.task("r")
    assert (response.status, response.task) == (200, task)
    assert (task.state, task.reason) == (TaskState.HALTED, "it differs")


@pytest.mark.parametrize(
    "stale",
    [halt("r", holder="h2"), halt("r", version=2), halt("r", version=0)],
    ids=["another holder", "a later version", "an earlier version"],
)
def test_a_halt_under_a_lease_that_is_not_held_stops_nobody(stale: TaskHalt) -> None:
    world = leased()
    before = world.state()
    response = world.ask(stale)
    assert (response.status, response.error) == (409, "task 'r' is acquired at task version 1")
    assert world.state() == before


@pytest.mark.parametrize(
    "ending",
    [(redelivery("r"),), (release("r"),), (fulfill("r"),)],
    ids=["taken over", "released", "fulfilled"],
)
def test_a_late_halt_of_a_former_holder_is_refused(ending: tuple[Request, ...]) -> None:
    world = leased()
    world.run(*ending)
    before = world.state()
    assert world.ask(halt("r")).status == 409
    assert world.state() == before


def test_a_halt_by_its_holder_repeated_answers_as_first() -> None:
    world = leased()
    first = world.ask(halt("r"))
    ended = world.state()
    again = world.ask(halt("r", reason="another"))
    assert (again.status, again.task) == (200, first.task)
    assert world.state() == ended


def test_a_group_that_acquires_and_halts_answers_its_repetition_as_first() -> None:
    world = World()
    world.ask(call("r"))
    group = (acquire("r"), halt("r"))
    assert [response.status for response in world.run(*group)] == [200, 200]
    ended = world.state()
    assert [response.status for response in world.run(*group)] == [200, 200]
    assert world.state() == ended


def test_a_delivery_of_a_task_halted_by_its_holder_is_acknowledged() -> None:
    world = leased()
    world.ask(halt("r"))
    response = world.ask(redelivery("r"))
    assert (response.status, response.verdict) == (409, Verdict.ACK)
    assert "(why)" in response.error


def test_a_redrive_of_a_pending_task_writes_one_new_row_in_place_of_the_old() -> None:
    world = World()
    world.ask(call("r"))
    [before] = world.rows("r")
    response = world.ask(TaskRedrive(id="r"))
    assert (response.status, response.task) == (200, world.task("r"))
    [row] = world.rows("r")
    assert (row.version, row.target, row.repeat) == (before.version, before.target, True)
    assert row.serial > before.serial
    assert [execute.serial for execute in world.outcome.executes] == [row.serial]


def test_a_redrive_of_a_task_whose_message_was_confirmed_publishes_it_again() -> None:
    world = World()
    world.ask(call("r"))
    world.ledger.offers.clear()
    world.ask(TaskRedrive(id="r"))
    assert len(world.rows("r")) == 1
    assert world.task("r").offered


def test_a_redrive_offers_a_delayed_task_now() -> None:
    world = World()
    world.ask(call("r", delay="5000"))
    world.ask(TaskRedrive(id="r"))
    assert (world.task("r").retry_at, world.task("r").offered) == (NOW, True)
    assert len(world.rows("r")) == 1
    world.now = 5_000
    world.fire(TimerKind.RETRY, "r")
    assert len(world.rows("r")) == 1


def test_a_redrive_keeps_since_when_the_task_is_due() -> None:
    world = World()
    world.ask(call("r"))
    world.now += 500
    world.ask(TaskRedrive(id="r"))
    assert world.task("r").retry_at == NOW


def test_a_redriven_task_is_acquired_by_either_message_and_only_once() -> None:
    world = World()
    world.run(call("r"), TaskRedrive(id="r"), acquire("r"))
    response = world.ask(acquire("r", holder="h2", ticket="t2"))
    assert (response.status, response.verdict) == (409, Verdict.ACK)
    assert world.rows("r") == []


def test_a_redriven_halted_task_goes_on() -> None:
    world = leased()
    world.run(halt("r"), TaskRedrive(id="r"))
    task = world.task("r")
    assert (task.state, task.version, task.reason) == (TaskState.PENDING, 1, "")
    assert [row.version for row in world.rows("r")] == [1]


def test_a_redrive_repeated_answers_as_first_and_leaves_one_row() -> None:
    world = World()
    world.ask(call("r"))
    first = world.ask(TaskRedrive(id="r"))
    again = world.ask(TaskRedrive(id="r"))
    assert (again.status, again.task) == (200, first.task)
    assert len(world.rows("r")) == 1


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ((acquire("r"),), "task 'r' is acquired at task version 1"),
        (
            (acquire("r"), fence("r", external("r:1")), suspend("r", "r:1")),
            "task 'r' is suspended at task version 1",
        ),
        ((settle("r"),), "task 'r' is fulfilled at task version 0"),
    ],
)
def test_a_task_that_somebody_holds_or_that_waits_or_is_done_is_not_redriven(
    steps: tuple[Request, ...], error: str
) -> None:
    world = World()
    world.run(call("r"), *steps)
    before = world.state()
    response = world.ask(TaskRedrive(id="r"))
    assert (response.status, response.error) == (409, error)
    assert world.state() == before


@pytest.mark.parametrize("halted", [False, True], ids=["pending", "halted"])
def test_a_task_past_its_deadline_is_not_redriven(halted: bool) -> None:
    world = World()
    world.ask(call("r"))
    if halted:
        world.ask(TaskHalt(id="r"))
    world.now = DEADLINE
    assert world.ask(TaskRedrive(id="r")).status == 409
    assert (world.task("r").state, world.rows("r")) == (TaskState.FULFILLED, [])


@pytest.mark.parametrize("promise_id", ["x", "e"], ids=["absent", "without a task"])
def test_what_has_no_task_cannot_be_redriven(promise_id: str) -> None:
    world = World()
    world.ask(external("e"))
    response = world.ask(TaskRedrive(id=promise_id))
    assert (response.status, response.error) == (404, f"task {promise_id!r} does not exist")
