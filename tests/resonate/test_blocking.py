"""Where a durable function may block, and what it is told where it may not."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from resonate_amqp import Context, Resonate

Flow = Generator[Any, Any, Any]


@pytest.fixture
def resonate() -> Generator[Resonate, None, None]:
    with Resonate(threads=3, grace=1) as resonate:

        @resonate.register
        def one(_ctx: Context) -> int:
            return 1

        yield resonate


def refused(call: Any) -> str:
    try:
        return str(call())
    except Exception as error:
        return str(error)


def test_an_async_body_that_blocks_is_refused_and_stalls_no_other(resonate: Resonate) -> None:
    @resonate.register
    async def leaf(ctx: Context) -> list[str]:
        return [
            refused(lambda: resonate.rpc(f"{ctx.id}-a", "one").result()),
            refused(lambda: resonate.get(ctx.id)),
            refused(lambda: resonate.promises.get(ctx.id)),
        ]

    @resonate.register
    async def workflow(ctx: Context) -> list[str]:
        await ctx.sleep(0)
        return [refused(lambda: resonate.rpc(f"{ctx.id}-a", "one").result())]

    for function in (leaf, workflow):
        for text in resonate.rpc(function.name, function).result(10):
            assert "await ctx.rfc" in text


def test_an_async_leaf_may_wait_where_it_does_not_block(resonate: Resonate) -> None:
    @resonate.register
    async def leaf(_ctx: Context) -> list[int]:
        handle = await resonate.arpc("a", "one")
        blocking = await asyncio.to_thread(lambda: resonate.rpc("b", "one").result())
        return [await handle, blocking]

    assert resonate.rpc("leaf", leaf).result(10) == [1, 1]


def test_a_generator_body_that_blocks_is_refused(resonate: Resonate) -> None:
    @resonate.register
    def workflow(ctx: Context) -> Flow:
        yield ctx.sleep(0)
        return refused(lambda: resonate.rpc("x", "one").result())

    assert "yield ctx.rfc" in resonate.rpc("workflow", workflow).result(10)


def test_leaves_that_wait_for_leaves_do_not_starve_the_pool(resonate: Resonate) -> None:
    @resonate.register
    def outer(ctx: Context) -> str:
        return refused(lambda: resonate.rpc(f"{ctx.id}-inner", slow).result())

    @resonate.register
    async def slow(_ctx: Context) -> str:
        await asyncio.sleep(0.2)
        return await asyncio.to_thread(lambda: "done")

    @resonate.register
    def inner(_ctx: Context) -> str:
        return "done"

    @resonate.register
    def waits(ctx: Context) -> str:
        return refused(lambda: resonate.rpc(f"{ctx.id}-inner", inner).result())

    for function in (outer, waits):
        handles = [resonate.rpc(f"{function.name}-{number}", function) for number in range(6)]
        told = [one.result(20) for one in handles]
        assert "done" in told
        assert all(text == "done" or "yield ctx.rfc" in text for text in told)
