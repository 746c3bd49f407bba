"""`async def` workflows, gathers, sagas and delays, over an embedded system."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from resonate_amqp import (
    Constant,
    Context,
    Embedded,
    NotDurable,
    RemoteError,
    Resonate,
    UsageError,
)
from resonate_amqp.wire.failures import type_name

Body = Generator[Any, Any, Any]
WAIT_S = 10


def add(_ctx: Context, one: int, other: int = 1) -> int:
    return one + other


async def fan(ctx: Context, width: int) -> list[int]:
    async def branch(n: int) -> int:
        local: int = await ctx.lfc(add, n)
        await ctx.sleep(0.02)
        remote: int = await ctx.rfc("add", local)
        return remote

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(branch(n)) for n in range(width)]
    return [task.result() for task in tasks]


def test_an_async_workflow_runs_its_branches_side_by_side(resonate: Resonate) -> None:
    resonate.register(add)
    handle = resonate.register(fan).rpc("fan", 20)
    began = time.monotonic()
    assert handle.result(WAIT_S) == list(range(2, 22))
    assert time.monotonic() - began < 5
    ids = {promise.id for promise, _ in resonate.tree("fan")}
    assert ids == {"fan", *(f"fan:{n}.{k}" for n in range(1, 21) for k in (1, 2, 3))}


def test_workflows_of_both_kinds_call_each_other(resonate: Resonate) -> None:
    @resonate.register
    async def outer(ctx: Context) -> list[Any]:
        return [await ctx.rfc("inner", 1), await ctx.lfc("inner", 2)]

    @resonate.register
    def inner(ctx: Context, n: int) -> Body:
        return (yield ctx.gather(ctx.rfc("leaf", n), ctx.lfc("leaf", n)))

    @resonate.register
    async def leaf(_ctx: Context, n: int) -> int:
        await asyncio.sleep(0.001)
        return n

    assert outer.rpc("o").result(WAIT_S) == [[1, 1], [2, 2]]


def test_before_its_first_command_an_async_body_is_retried_as_a_leaf_and_after_it_never(
    resonate: Resonate,
) -> None:
    attempts: list[tuple[str, int]] = []

    @resonate.register(retry_policy=Constant(delay=0, max_retries=2))
    async def flaky(ctx: Context, how: str) -> str:
        attempts.append((how, ctx.info.attempt))
        await asyncio.sleep(0)
        if how == "before" and ctx.info.attempt < 3:
            raise ValueError("again")
        await ctx.lfc(add, 1)
        if how == "after":
            raise ValueError("for good")
        return how

    assert flaky.rpc("one", "before").result(WAIT_S) == "before"
    with pytest.raises(ValueError, match="for good"):
        flaky.rpc("two", "after").result(WAIT_S)
    assert attempts == [("before", 1), ("before", 2), ("before", 3), ("after", 1)]


def test_a_foreign_await_fails_the_call_and_names_the_remedy(resonate: Resonate) -> None:
    @resonate.register
    async def careless(ctx: Context) -> None:
        await ctx.lfc(add, 1)
        await asyncio.sleep(0.01)

    with pytest.raises(RemoteError, match=r"await ctx\.lfc") as caught:
        careless.rpc("c").result(WAIT_S)
    assert caught.value.type_name == type_name(NotDurable)


def test_many_async_workflows_wait_at_once_and_are_parked_and_resumed(tmp_path: Path) -> None:
    system = Embedded(f"sqlite:///{tmp_path}/ledger.db")
    resonate = Resonate(system=system, group="g", prefetch=4, park_after=0.2, grace=1)
    runs: list[str] = []

    @resonate.register
    async def patient(ctx: Context, n: int) -> int:
        runs.append(ctx.id)
        await asyncio.gather(ctx.sleep(1), ctx.sleep(0.1))
        return n

    resonate.start()
    handles = [patient.rpc(f"p{n}", n) for n in range(40)]
    try:
        assert [handle.result(30) for handle in handles] == list(range(40))
    finally:
        resonate.stop()
        system.close()
    assert len(runs) > 40


def test_an_async_workflow_goes_on_in_another_process_where_it_was(tmp_path: Path) -> None:
    system = Embedded(f"sqlite:///{tmp_path}/ledger.db")
    steps: list[int] = []
    closed: list[str] = []
    waiting = threading.Event()

    def step(_ctx: Context, n: int) -> int:
        steps.append(n)
        return n

    async def flow(ctx: Context) -> list[Any]:
        async def branch(n: int) -> Any:
            try:
                await ctx.lfc(step, n)
                answer = await ctx.promise()
                waiting.set()
                return await answer
            finally:
                closed.append(ctx.id)

        return list(await asyncio.gather(branch(1), branch(2)))

    first = Resonate(system=system, group="g", grace=1)
    first.register(flow)
    first.start()
    first.rpc("flow", flow)
    assert waiting.wait(WAIT_S)
    first.stop()
    assert closed == ["flow"] * 2
    second = Resonate(system=system, group="g", grace=1)
    second.register(flow)
    with second:
        second.promises.resolve("flow:2.2", "b")
        second.promises.resolve("flow:1.2", "a")
        assert second.get("flow").result(WAIT_S) == ["a", "b"]
    system.close()
    assert sorted(steps) == [1, 2]


def test_a_saga_undoes_what_was_done_and_raises_its_own_error(resonate: Resonate) -> None:
    done: list[str] = []

    def act(_ctx: Context, what: str) -> None:
        done.append(what)
        if what == "car":
            raise ValueError("no car left")

    @resonate.register
    async def trip(ctx: Context) -> None:
        for what in ("flight", "hotel", "car"):
            await ctx.lfc(act, what)
            ctx.compensate(act, f"cancel {what}")

    with pytest.raises(ValueError, match="no car left"):
        trip.rpc("trip").result(WAIT_S)
    assert done == ["flight", "hotel", "car", "cancel hotel", "cancel flight"]


def test_ids_of_its_own_are_known_to_everybody(resonate: Resonate) -> None:
    ran: list[int] = []

    @resonate.register
    def double(_ctx: Context, n: int) -> int:
        ran.append(n)
        return 2 * n

    @resonate.register
    async def order(ctx: Context) -> list[Any]:
        asked = await ctx.promise(id="approval-7")
        await ctx.lfc(tell, asked.id)
        paid = await ctx.rfc(double, 3).options(id="payment-7")
        return [paid, await ctx.get("payment-7"), await asked]

    def tell(_ctx: Context, promise_id: str) -> None:
        told.put(promise_id)

    told: queue.Queue[str] = queue.Queue()
    handle = order.rpc("order-7")
    assert told.get(timeout=WAIT_S) == "approval-7"
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            resonate.promises.resolve("approval-7", "yes")
            break
        except UsageError:  # it is created a moment after its place in the tree is
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert handle.result(WAIT_S) == [6, 6, "yes"]
    assert resonate.rpc("payment-7", double, 4).result(WAIT_S) == 6
    assert ran == [3]


def test_a_delayed_call_starts_later(resonate: Resonate) -> None:
    resonate.register(add)

    @resonate.register
    async def late(ctx: Context) -> Any:
        return await ctx.rfc("add", 1).options(delay=0.2)

    began = time.monotonic()
    assert resonate.options(delay=0.3).rpc("one", "add", 1).result(WAIT_S) == 2
    assert time.monotonic() - began >= 0.3
    assert late.rpc("two").result(WAIT_S) == 2
    assert time.monotonic() - began >= 0.5
    with pytest.raises(UsageError, match="a delay is for rpc"):
        resonate.options(delay=1).run("three", "add", 1)


def test_a_replaced_source_of_randomness_is_used(resonate: Resonate) -> None:
    class Loaded:
        def randint(self, _lowest: int, highest: int) -> int:
            return highest

    @resonate.register
    async def roll(ctx: Context) -> list[Any]:
        return [await ctx.random.randint(1, 6), await ctx.random.random(), await ctx.time.time()]

    drawn = roll.rpc("fair").result(WAIT_S)
    assert 1 <= drawn[0] <= 6
    assert abs(drawn[2] - time.time()) < 60
    resonate.set_dependency("resonate:random", Loaded())
    with pytest.raises(AttributeError, match="random"):
        roll.rpc("loaded").result(WAIT_S)


def test_a_stopped_instance_leaves_no_coroutine_behind(resonate: Resonate) -> None:
    closed = threading.Event()
    begun = threading.Event()

    @resonate.register
    async def waits(ctx: Context) -> None:
        try:
            asked = await ctx.promise()
            begun.set()
            await asked
        finally:
            closed.set()

    waits.rpc("w")
    assert begun.wait(WAIT_S)
    resonate.stop()
    assert closed.wait(WAIT_S)
