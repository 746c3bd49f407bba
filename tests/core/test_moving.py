"""`task.lease`: a holder keeps its task and lets go of the delivery it came by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from resonate_amqp.core.model import PromiseState, TaskState
from resonate_amqp.core.requests import Request, TaskHalt, Verdict
from resonate_amqp.core.timers import Timer, TimerKind
from tests.core.world import (
    DEADLINE,
    NOW,
    World,
    acquire,
    call,
    created,
    external,
    fence,
    fulfill,
    heartbeat,
    internal,
    lease,
    redelivery,
    release,
    settle,
    suspend,
)

MOVED_TTL = 60


def leased() -> World:
    """A world in which h1 holds task r at version 1 under ticket t1, with an external child r:1."""
    world = World()
    world.run(call("r"), acquire("r", redeliveries=3), fence("r", external("r:1")))
    return world


def moved() -> World:
    world = leased()
    assert world.ask(lease("r", ttl=MOVED_TTL)).status == 200
    return world


def test_a_moved_lease_has_the_same_version_and_holder_and_another_ttl() -> None:
    world = leased()
    before = world.task("r")
    world.now += 100
    response = world.ask(lease("r", ttl=MOVED_TTL))
    task = world.task("r")
    assert (response.status, response.task) == (200, task)
    assert (task.ttl, task.expires_at) == (MOVED_TTL, world.now + MOVED_TTL)
    assert (task.ticket, task.redeliveries) == ("", 0)
    assert task.but(**{name: getattr(before, name) for name in CHANGED}) == before


CHANGED = ("ttl", "expires_at", "ticket", "redeliveries")


def test_a_moved_lease_is_timed_by_its_new_end() -> None:
    world = leased()
    world.ask(lease("r", ttl=MOVED_TTL))
    assert Timer(NOW + MOVED_TTL, TimerKind.LEASE, "r") in world.outcome.timers


@pytest.mark.parametrize("ticket", ["t1", "t2", ""])
@pytest.mark.parametrize("count", [-1, 3, 9])
def test_whoever_gets_the_message_of_a_moved_lease_acknowledges_it(ticket: str, count: int) -> None:
    world = moved()
    before = world.task("r")
    response = world.ask(redelivery("r", ticket=ticket, count=count, version=1))
    assert (response.status, response.verdict) == (409, Verdict.ACK)
    assert world.task("r") == before


def test_a_moved_lease_that_is_not_refreshed_expires_and_the_task_is_offered_again() -> None:
    world = moved()
    world.now += MOVED_TTL
    world.fire(TimerKind.LEASE, "r")
    assert (world.task("r").state, world.task("r").deliveries) == (TaskState.PENDING, 1)
    assert [row.version for row in world.rows("r")] == [1]
    assert world.ask(lease("r")).status == 409


def test_a_moved_lease_that_is_refreshed_stands() -> None:
    world = moved()
    world.now += MOVED_TTL - 1
    assert world.ask(heartbeat("r")).lost == ()
    assert world.task("r").expires_at == world.now + MOVED_TTL
    world.now += 1
    world.fire(TimerKind.LEASE, "r")
    assert world.task("r").holder == "h1"


ACTS: list[Request] = [
    fence("r", internal("r:9")),
    fence("r", settle("r:1")),
    suspend("r", "r:1"),
    fulfill("r"),
    release("r"),
    lease("r"),
]


@pytest.mark.parametrize("request_", ACTS, ids=lambda one: one.kind)
def test_the_holder_of_a_moved_lease_may_what_it_might_before(request_: Request) -> None:
    assert moved().ask(request_).status == 200


def test_a_move_repeated_while_the_lease_stands_refreshes_it() -> None:
    world = moved()
    world.now += 10
    assert world.ask(lease("r", ttl=MOVED_TTL)).status == 200
    assert world.task("r").expires_at == world.now + MOVED_TTL


@pytest.mark.parametrize(
    "ending",
    [suspend("r", "r:1"), fulfill("r"), release("r"), settle("r")],
    ids=["suspended", "fulfilled", "released", "settled by somebody else"],
)
def test_a_move_repeated_after_the_lease_ended_answers_as_first(ending: Request) -> None:
    world = moved()
    world.ask(ending)
    ended = world.state()
    again = world.ask(lease("r", ttl=MOVED_TTL))
    assert (again.status, again.task) == (200, world.task("r"))
    assert world.state() == ended


@pytest.mark.parametrize("recorded", [False, True], ids=["by this request", "by the timer"])
def test_it_is_the_same_for_a_move_who_records_a_passed_deadline(recorded: bool) -> None:
    world = leased()
    world.now = DEADLINE
    if recorded:
        world.fire(TimerKind.DEADLINE, "r")
    response = world.ask(lease("r"))
    assert (response.status, response.task) == (200, world.task("r"))
    assert world.promise("r").state is PromiseState.REJECTED_TIMEDOUT


@pytest.mark.parametrize(
    "ended",
    [redelivery("r", count=4), TaskHalt(id="r")],
    ids=["taken over", "halted"],
)
def test_a_lease_that_was_lost_cannot_be_moved(ended: Request) -> None:
    world = leased()
    assert world.ask(ended).ok
    before = world.state()
    response = world.ask(lease("r"))
    assert response.status == 409
    assert response.error.startswith(f"task 'r' is {world.task('r').state} at task version")
    assert world.state() == before


@pytest.mark.parametrize("changed", [{"holder": "h2"}, {"holder": ""}, {"version": 2}])
def test_only_the_holder_at_its_version_moves_a_lease(changed: dict[str, Any]) -> None:
    world = leased()
    before = world.state()
    assert world.ask(replace(lease("r"), **changed)).status == 409
    assert world.state() == before


def test_an_absent_task_has_no_lease_to_move() -> None:
    response = World().ask(lease("x"))
    assert (response.status, response.error) == (404, "task 'x' does not exist")


def test_a_ttl_lease_may_be_given_another_ttl() -> None:
    world = World()
    world.run(created(call("r")), lease("r", ttl=5))
    assert (world.task("r").ttl, world.task("r").expires_at) == (5, NOW + 5)


def test_a_group_that_acquires_and_moves_answers_its_repetition_as_first() -> None:
    world = World()
    world.ask(call("r"))
    group = (acquire("r"), lease("r"), fence("r", external("r:1")))
    first = world.run(*group, group="g1")
    again = world.run(*group, group="g1")
    assert [response.status for response in first] == [200, 200, 200]
    assert [response.task for response in again[:2]] == [world.task("r"), world.task("r")]
    assert [response.status for response in again] == [200, 200, 200]
