"""A strict create: an id that is taken by another call is refused."""

from __future__ import annotations

from dataclasses import replace

from resonate_amqp.core.model import TARGET, Value
from resonate_amqp.core.requests import PromiseCreate
from tests.core.world import DEADLINE, TARGET_A, World, settle, timer


def asked(promise_id: str, data: str = "MQ==", func: str = "f", **more: str) -> PromiseCreate:
    """A strict call of a function with the arguments `data`."""
    param = Value({"func": func}, data)
    tags = {TARGET: TARGET_A} | more
    return PromiseCreate(id=promise_id, timeout_at=DEADLINE, param=param, tags=tags, strict=True)


def test_a_strict_create_of_what_was_asked_before_answers_the_record() -> None:
    world = World()
    first = world.ask(asked("a"))
    again = world.ask(replace(asked("a", color="red"), timeout_at=DEADLINE + 5))
    assert (again.status, again.promise, again.task) == (200, first.promise, first.task)


def test_a_strict_create_of_something_else_is_refused_with_the_record() -> None:
    world = World()
    world.ask(replace(asked("a"), strict=False))
    before = world.state()
    response = world.ask(asked("a", "Mg=="))
    assert (response.status, response.promise) == (409, world.promise("a"))
    assert response.error == (
        "id 'a' is taken by a call of 'f' with other arguments; use an id of its own for each call"
    )
    assert world.state() == before


def test_a_strict_create_of_a_call_is_refused_where_a_timer_has_the_id() -> None:
    world = World()
    world.ask(timer("a"))
    nothing = PromiseCreate(id="a", timeout_at=DEADLINE, tags={TARGET: TARGET_A}, strict=True)
    response = world.ask(nothing)
    assert (response.status, "taken by another promise" in response.error) == (409, True)


def test_a_settled_record_is_compared_as_well() -> None:
    world = World()
    world.run(asked("a"), settle("a"))
    assert world.ask(asked("a")).status == 200
    assert world.ask(asked("a", "Mg==")).status == 409


def test_a_create_that_is_not_strict_takes_what_is_there() -> None:
    world = World()
    world.ask(asked("a"))
    assert world.ask(replace(asked("a", "Mg=="), strict=False)).promise == world.promise("a")
