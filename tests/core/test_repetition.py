"""A holder's request may arrive twice: it is answered as it was first, and writes nothing more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resonate_amqp.core.model import PromiseState, TaskState, Value
from resonate_amqp.core.requests import TaskFulfill, TaskHalt, TaskRelease, TaskSuspend
from resonate_amqp.core.timers import TimerKind
from tests.core.world import (
    DEADLINE,
    TTL,
    World,
    acquire,
    call,
    external,
    fence,
    fulfill,
    internal,
    release,
    settle,
    suspend,
)

Ending = TaskSuspend | TaskFulfill | TaskRelease

ENDINGS: list[Ending] = [suspend("r", "r:1"), fulfill("r"), release("r")]


def leased() -> World:
    """A world in which h1 holds task r at version 1 and recorded the external child r:1."""
    world = World()
    world.run(call("r"), acquire("r"), fence("r", external("r:1")))
    return world


def named(request: Ending) -> str:
    return request.kind


def test_a_fence_repeated_after_its_lease_ended_answers_what_it_recorded() -> None:
    world = leased()
    recorded = world.ask(fence("r", internal("r:2")), "g1").promise
    settled = world.ask(fence("r", settle("r:1", value=Value({}, "1"))), "g1").promise
    world.ask(release("r"))
    world.ask(acquire("r", 1, "h2", "t2"))
    assert world.ask(fence("r", internal("r:2")), "g1").promise == recorded
    again = world.ask(fence("r", settle("r:1")), "g1")
    assert (again.status, again.promise, again.applied) == (200, settled, True)


def test_a_fence_that_would_write_is_refused_after_its_lease_ended() -> None:
    world = leased()
    world.ask(release("r"))
    assert world.ask(fence("r", internal("r:2"))).status == 409
    assert world.ask(fence("r", settle("r:1"))).status == 409


@pytest.mark.parametrize("request_", ENDINGS, ids=named)
@pytest.mark.parametrize("recorded", [False, True], ids=["by this request", "by the timer"])
def test_it_is_the_same_who_records_a_passed_deadline(request_: Ending, recorded: bool) -> None:
    world = leased()
    world.now = DEADLINE
    if recorded:
        world.fire(TimerKind.DEADLINE, "r")
    response = world.ask(request_)
    assert (response.status, response.task) == (200, world.task("r"))
    assert world.promise("r").state is PromiseState.REJECTED_TIMEDOUT


@pytest.mark.parametrize("request_", ENDINGS, ids=named)
def test_the_holder_that_repeats_itself_is_answered_as_first(request_: Ending) -> None:
    world = leased()
    first = world.ask(request_)
    ended = world.state()
    again = world.ask(request_)
    assert (again.status, again.task, again.applied) == (first.status, first.task, first.applied)
    assert world.state() == ended


@pytest.mark.parametrize("request_", ENDINGS, ids=named)
def test_somebody_else_who_repeats_the_request_is_refused(request_: Ending) -> None:
    world = leased()
    world.ask(request_)
    assert world.ask(replace(request_, holder="h2")).status == 409
    assert world.ask(replace(request_, version=2)).status == 409


def test_a_suspend_repeated_after_the_resume_answers_as_first() -> None:
    world = leased()
    world.run(suspend("r", "r:1"), settle("r:1"))
    assert world.ask(suspend("r", "r:1")).status == 200
    assert world.task("r").state is TaskState.PENDING


@pytest.mark.parametrize("request_", ENDINGS, ids=named)
def test_a_repetition_is_refused_once_the_next_holder_has_the_task(request_: Ending) -> None:
    world = leased()
    world.run(release("r"), acquire("r", 1, "h2", "t2"))
    assert world.ask(request_).status == 409
    assert world.task("r").holder == "h2"


@pytest.mark.parametrize("request_", ENDINGS, ids=named)
def test_a_holder_whose_lease_expired_is_refused(request_: Ending) -> None:
    world = leased()
    world.now += TTL
    world.fire(TimerKind.LEASE, "r")
    assert world.ask(request_).status == 409


@pytest.mark.parametrize("request_", ENDINGS, ids=named)
def test_a_holder_whose_task_was_halted_is_refused(request_: Ending) -> None:
    world = leased()
    world.ask(TaskHalt(id="r"))
    assert world.ask(request_).status == 409


def test_a_fulfil_after_the_own_release_is_no_repetition() -> None:
    world = leased()
    world.ask(release("r"))
    assert world.ask(fulfill("r")).status == 409
    assert world.promise("r").pending
