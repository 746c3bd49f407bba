"""Calls from a running event loop: never blocked, and nothing durable is canceled with a task."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from resonate_amqp import (
    BrokerError,
    Context,
    Encoding,
    Handle,
    Resonate,
    Stopped,
    UnknownFunction,
    UsageError,
)

WAIT_S = 10
T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    async def within() -> T:
        return await asyncio.wait_for(work, WAIT_S)

    return asyncio.run(within())


def add(_ctx: Context, one: int, other: int = 1) -> int:
    return one + other


def test_every_way_to_call_has_one_that_is_awaited(resonate: Resonate) -> None:
    function = resonate.register(add)

    async def calls() -> list[Any]:
        handles = [
            await resonate.arpc("a", "add", 1),
            await resonate.arpc("b", add, 1, other=2),
            await resonate.arun("c", add, 3),
            await function.arpc("d", 4),
            await function.arun("e", other=5, one=0),
            await resonate.options(timeout=60, version=1).arpc("f", "add", 6),
            await resonate.options(timeout=60).arun("g", function, 7),
        ]
        assert all(isinstance(handle, Handle) for handle in handles)
        assert [handle.id for handle in handles] == list("abcdefg")
        return [await handle for handle in handles]

    assert run(calls()) == [2, 3, 4, 5, 5, 7, 8]


def test_aget_finds_what_runs_and_what_is_finished(resonate: Resonate) -> None:
    gate = threading.Event()

    @resonate.register
    def slow(_ctx: Context) -> str:
        gate.wait(WAIT_S)
        return "done"

    async def calls() -> list[str]:
        await resonate.arpc("slow", slow)
        running = await resonate.aget("slow")
        assert not running.done()
        gate.set()
        return [await running, await (await resonate.options(tags={}).aget("slow"))]

    assert run(calls()) == ["done", "done"]


def test_the_loop_goes_on_while_a_call_waits_for_its_ledger() -> None:
    """No broker listens there, so the call is answered by its timeout alone."""
    resonate = Resonate(url="amqp://127.0.0.1:1/", group="g", request_timeout=0.5)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.01)

    async def calls() -> None:
        counting = asyncio.create_task(count())
        with pytest.raises(BrokerError):
            await resonate.options(target="g").arpc("id", "f")
        counting.cancel()

    try:
        run(calls())
    finally:
        resonate.stop()
    assert turns > 10


def test_a_database_is_opened_off_the_loop(tmp_path: Path) -> None:
    resonate = Resonate(ledger=f"sqlite:///{tmp_path / 'l.db'}", group="g", grace=1)
    resonate.register(add)

    async def calls() -> int:
        handles = await asyncio.gather(*(resonate.arpc(f"id-{n}", add, n) for n in range(20)))
        return sum(await asyncio.gather(*handles))

    try:
        assert run(calls()) == sum(range(1, 21))
    finally:
        resonate.stop()


def test_canceling_the_task_that_awaits_cancels_nothing_durable(resonate: Resonate) -> None:
    gate, began = threading.Event(), threading.Event()

    @resonate.register
    def slow(_ctx: Context) -> str:
        began.set()
        gate.wait(WAIT_S)
        return "done"

    async def waits() -> str:
        handle = await resonate.arpc("slow", slow)
        result: str = await handle
        return result

    async def calls() -> str:
        task = asyncio.create_task(waits())
        await asyncio.to_thread(began.wait, WAIT_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        handle = await resonate.aget("slow")
        assert not handle.done()
        gate.set()
        result: str = await handle
        return result

    assert run(calls()) == "done"
    assert resonate.rpc("slow", slow).result(WAIT_S) == "done"


def test_canceling_a_call_before_it_is_answered_harms_nobody(resonate: Resonate) -> None:
    resonate.register(add)

    async def calls() -> list[int]:
        resonate.start()
        for n in range(20):
            task = asyncio.create_task(resonate.arpc(f"id-{n}", add, n))
            await asyncio.sleep(0)
            task.cancel()
        return [await (await resonate.arpc(f"id-{n}", add, n)) for n in range(20)]

    assert run(calls()) == list(range(1, 21))


def test_an_error_is_raised_where_it_is_awaited(resonate: Resonate) -> None:
    resonate.register(add)

    @resonate.register
    def fails(_ctx: Context) -> None:
        raise LookupError("gone")

    async def calls() -> None:
        with pytest.raises(UnknownFunction):
            await resonate.arpc("id", "nowhere")
        with pytest.raises(UnknownFunction):
            await resonate.options(target="x").arun("id", "nowhere")
        with pytest.raises(Encoding):
            await resonate.arpc("id", "add", {1})
        with pytest.raises(UsageError, match="'none'"):
            await resonate.aget("none")
        handle = await resonate.arpc("fails", fails)
        with pytest.raises(LookupError, match="gone"):
            await handle

    run(calls())


def test_an_async_leaf_may_call_from_its_own_loop(resonate: Resonate) -> None:
    resonate.register(add)

    @resonate.register
    async def asks(_ctx: Context) -> int:
        result: int = await (await resonate.arpc("inner", add, 1))
        return result

    assert resonate.rpc("asks", asks).result(WAIT_S) == 2


def test_a_stopped_instance_says_so_to_a_loop(resonate: Resonate) -> None:
    resonate.register(add)

    async def calls() -> None:
        handle = await resonate.options(target="nobody").arpc("waits", "f")
        await asyncio.to_thread(resonate.stop)
        with pytest.raises(Stopped):
            await handle
        with pytest.raises(UsageError, match="stopped"):
            await resonate.arpc("id", add, 1)

    run(calls())
