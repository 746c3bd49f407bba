"""Nothing begins after a workflow's end, through ledger and worker as they are shipped."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from resonate_amqp import Canceled, Context, Resonate, TimedOut
from resonate_amqp.testing import System

Flow = Generator[Any, Any, Any]


@pytest.fixture
def system() -> Generator[System, None, None]:
    with System() as system:
        yield system


@pytest.fixture
def ran() -> list[str]:
    return []


@pytest.fixture
def flows(system: System, ran: list[str]) -> Resonate:
    resonate = system.resonate("flows")

    @resonate.register
    def caught(ctx: Context) -> Flow:
        try:
            yield ctx.rfc("elsewhere").options(target="nobody")
        except Exception:
            yield ctx.lfc(note, "fallback")

    @resonate.register
    async def caught_async(ctx: Context) -> None:
        try:
            await ctx.rfc("elsewhere").options(target="nobody")
        except Exception:
            await ctx.lfc(note, "fallback")

    @resonate.register
    def saga(ctx: Context) -> Flow:
        yield ctx.lfc(note, "book")
        ctx.compensate(note, "cancel the booking")
        yield ctx.rfc("elsewhere").options(target="nobody")

    def note(_ctx: Context, what: str) -> None:
        ran.append(what)

    return resonate


@pytest.mark.parametrize("name", ["caught", "caught_async"])
def test_a_canceled_workflow_runs_no_fallback_for_its_canceled_children(
    flows: Resonate, system: System, ran: list[str], name: str
) -> None:
    handle = flows.rpc("w", name)
    system.advance(1)
    flows.promises.cancel("w")
    system.advance(1)
    with pytest.raises(Canceled):
        handle.result()
    assert ran == []
    assert flows.promises.get("w:1").state == "rejected_canceled"


@pytest.mark.parametrize("name", ["caught", "caught_async"])
def test_a_workflow_whose_deadline_has_passed_runs_no_fallback(
    flows: Resonate, system: System, ran: list[str], name: str
) -> None:
    handle = flows.options(timeout=10).rpc("w", name)
    system.advance(1)
    system.advance(20)
    with pytest.raises(TimedOut):
        handle.result()
    assert ran == []


def test_the_compensations_of_a_canceled_workflow_do_not_run(
    flows: Resonate, system: System, ran: list[str]
) -> None:
    flows.rpc("w", "saga")
    system.advance(1)
    flows.promises.cancel("w")
    system.advance(1)
    assert ran == ["book"]


@pytest.mark.parametrize("name", ["caught", "caught_async"])
def test_a_child_that_is_canceled_alone_is_heard_of(
    flows: Resonate, system: System, ran: list[str], name: str
) -> None:
    handle = flows.rpc("w", name)
    system.advance(1)
    flows.promises.cancel("w:1")
    system.advance(1)
    assert handle.result() is None
    assert ran == ["fallback"]


def test_a_timer_that_lost_a_race_holds_nothing(system: System) -> None:
    resonate = system.resonate("waiting")

    @resonate.register
    async def decide(ctx: Context) -> str:
        decision = await ctx.promise()
        answer = asyncio.ensure_future(decision)
        pause = asyncio.ensure_future(ctx.sleep(3_600))
        await asyncio.wait([answer, pause], return_when=asyncio.FIRST_COMPLETED)
        pause.cancel()
        return str(answer.result())

    @resonate.register
    def decide_by_race(ctx: Context) -> Flow:
        decision = yield ctx.promise()
        winner = yield ctx.race(decision, ctx.sleep(3_600))
        return winner.value

    for name in ("decide", "decide_by_race"):
        handle = resonate.rpc(name, name)
        system.advance(1)
        resonate.promises.resolve(f"{name}:1", "yes")
        system.advance(1)
        assert handle.done(), name
        assert handle.result() == "yes"
        timers = [one for one, _ in resonate.tree(name) if one.timer]
        assert [one.state for one in timers] == ["rejected_canceled"]


def test_a_limit_cancels_the_call_that_it_cuts_short_and_all_that_it_had_called(
    system: System,
) -> None:
    resonate = system.resonate("limits")

    @resonate.register
    def outer(ctx: Context) -> Flow:
        try:
            with ctx.timeout(5):
                yield ctx.rfc(inner)
        except TimeoutError:
            return "late"

    @resonate.register
    def inner(ctx: Context) -> Flow:
        yield ctx.sleep(600)

    handle = resonate.rpc("outer", outer)
    system.advance(1)
    system.advance(5)
    assert handle.result() == "late"
    states = {one.id: str(one.state) for one, _ in resonate.tree("outer")}
    assert states == {
        "outer": "resolved",
        "outer:1": "resolved",
        "outer:2": "rejected_canceled",
        "outer:2.1": "rejected_canceled",
    }


def test_an_external_promise_of_an_id_of_its_own_is_canceled_with_what_stands_for_it(
    system: System,
) -> None:
    resonate = system.resonate("named")

    @resonate.register
    def ask(ctx: Context) -> Flow:
        decision = yield ctx.promise(id="approval-7")
        return (yield ctx.race(ctx.sleep(10), decision)).position

    handle = resonate.rpc("ask", ask)
    system.advance(1)
    system.advance(10)
    system.advance(1)
    assert handle.result() == 0
    assert resonate.promises.get("approval-7").state == "rejected_canceled"


def test_a_promise_of_another_tree_that_lost_a_race_is_left_alone(system: System) -> None:
    resonate = system.resonate("others")
    resonate.promises.create("other", timeout=3_600)

    @resonate.register
    def ask(ctx: Context) -> Flow:
        return (yield ctx.race(ctx.sleep(10), ctx.get("other"))).position

    handle = resonate.rpc("ask", ask)
    system.advance(1)
    system.advance(10)
    assert handle.result() == 0
    assert resonate.promises.get("other").state == "pending"
    assert {one.id: str(one.state) for one, _ in resonate.tree("ask")}["ask:2"] == (
        "rejected_canceled"
    )
