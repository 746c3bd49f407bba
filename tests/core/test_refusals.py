"""A request that is wrong in itself is refused with 400, whatever is recorded of what it names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resonate_amqp.core.model import PromiseState
from resonate_amqp.core.requests import Request, TaskContinue, TaskHalt
from tests.core.world import (
    DEADLINE,
    World,
    acquire,
    call,
    callback,
    created,
    external,
    fence,
    fulfill,
    internal,
    release,
    settle,
    suspend,
)

LEASED: tuple[Request, ...] = (call("r"), acquire("r"), fence("r", external("r:1")))

RECORDED: dict[str, tuple[Request, ...]] = {
    "absent": (),
    "pending": (call("r"),),
    "acquired": LEASED,
    "acquired by another": (*LEASED, release("r"), acquire("r", 1, "h2", "t2")),
    "released": (*LEASED, release("r")),
    "suspended": (*LEASED, suspend("r", "r:1")),
    "halted": (*LEASED, TaskHalt(id="r", reason="why")),
    "continued": (*LEASED, TaskHalt(id="r", reason="why"), TaskContinue(id="r")),
    "fulfilled": (*LEASED, fulfill("r")),
    "settled from outside": (*LEASED, settle("r")),
}

IMPOSSIBLE = (PromiseState.PENDING, PromiseState.REJECTED_TIMEDOUT)

WRONG: dict[str, Request] = {
    "suspend on nothing": suspend("r"),
    "suspend on itself": suspend("r", "r"),
    "suspend on itself too": suspend("r", "r:1", "r"),
    "fulfil of another promise": replace(fulfill("r"), action=settle("r:1")),
    **{f"fulfil as {state}": fulfill("r", state=state) for state in IMPOSSIBLE},
    **{f"settle as {state}": settle("r", state) for state in IMPOSSIBLE},
    **{f"fenced settle as {state}": fence("r", settle("r:1", state)) for state in IMPOSSIBLE},
    "fence on itself": fence("r", settle("r")),
    "fence on another tree": fence("r", internal("s:1")),
    "acquire by nobody": acquire("r", holder=""),
    "create by nobody": created(call("r"), holder=""),
    "callback of itself": callback("r", "r"),
}


@pytest.mark.parametrize("recorded", RECORDED)
@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_in_itself_is_refused_first(wrong: str, recorded: str) -> None:
    world = World()
    for request in RECORDED[recorded]:
        assert world.ask(request).ok
    before = world.state()
    assert world.ask(WRONG[wrong]).status == 400
    assert world.state() == before


@pytest.mark.parametrize("wrong", WRONG)
def test_it_is_refused_past_the_deadline_as_well(wrong: str) -> None:
    world = World()
    world.run(*LEASED)
    world.now = DEADLINE
    assert world.ask(WRONG[wrong]).status == 400
