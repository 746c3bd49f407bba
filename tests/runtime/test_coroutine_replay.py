"""An `async def` body on a record: what it finds there, and what halts it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator
from typing import Any

import pytest

from resonate_amqp.runtime.context import Context
from tests.runtime.strands import AsyncRun, far, leaf, two_steps


def test_the_first_of_several_is_the_same_one_on_replay() -> None:
    async def body(ctx: Context) -> Any:
        tasks = [asyncio.create_task(two_steps(ctx, name)) for name in "ab"]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        winners = [n for n, task in enumerate(tasks) if task in done]
        await far(ctx, "tell", winners)
        await asyncio.gather(*tasks)
        return winners

    with AsyncRun(body).replay() as run:
        for settled in ("r:2.1", "r:2.2", "r:1.1", "r:1.2"):
            run.settle(settled, 1)
        assert run.created[-1] == "r:1.2"
        run.replay()
        assert run.halted is None
        assert run.settle("r:3").result == [1]


def test_a_call_inserted_before_a_recorded_one_halts_naming_both() -> None:
    async def before(ctx: Context) -> None:
        await far(ctx, "bar")

    async def after(ctx: Context) -> None:
        await far(ctx, "inserted")
        await far(ctx, "bar")

    with AsyncRun(before).replay() as run:
        run.settle("r:1", 1)
        run.func = after
        run.replay()
        assert run.halted is not None
        assert "'bar'" in run.halted
        assert "'inserted'" in run.halted


def test_a_number_that_was_a_call_and_is_now_a_branch_halts() -> None:
    async def before(ctx: Context) -> None:
        await ctx.lfc(leaf)
        await far(ctx, "x")

    async def after(ctx: Context) -> None:
        await asyncio.gather(ctx.lfc(leaf), two_steps(ctx, "b"))
        await asyncio.gather(two_steps(ctx, "a"))

    with AsyncRun(before).replay() as run:
        run.settle("r:2")
        run.func = after
        run.replay()
        assert run.halted is not None
        assert "'r:2' was recorded as a call of 'x'" in run.halted
        assert "now starts an asyncio branch there" in run.halted


def test_a_number_that_was_a_branch_and_is_now_a_local_workflow_halts() -> None:
    async def before(ctx: Context) -> None:
        await asyncio.gather(step(ctx))
        await far(ctx, "y")

    async def after(ctx: Context) -> None:
        await ctx.lfc(step)

    async def step(ctx: Context) -> None:
        await far(ctx, "x")

    with AsyncRun(before).replay() as run:
        run.settle("r:1.1")
        run.func = after
        run.replay()
        assert run.halted is not None
        assert "by 'r'" in run.halted
        assert "by 'r:1'" in run.halted


@pytest.mark.parametrize("awaits", [False, True])
def test_commands_built_and_never_awaited_are_dispatched_when_the_body_returns(
    awaits: bool,
) -> None:
    async def body(ctx: Context) -> int:
        ctx.rfi("first").options(target="elsewhere")
        if awaits:
            await ctx.lfc(leaf)
        ctx.rfi("second").options(target="elsewhere")
        return 1

    with AsyncRun(body).replay() as run:
        assert run.created == (["r:2", "r:1", "r:3"] if awaits else ["r:1", "r:2"])
        assert run.ended()


def test_a_local_async_workflow_is_recorded_before_its_children() -> None:
    def body(ctx: Context) -> Generator[Any, Any, Any]:
        return (yield ctx.lfc(inner, 2))

    async def inner(ctx: Context, n: int) -> int:
        return int(await ctx.lfc(leaf, n)) + int(await far(ctx, "x"))

    with AsyncRun(body).replay() as run:
        assert run.created == ["r:1", "r:1.1", "r:1.2"]
        run.replay()
        assert run.created == ["r:1", "r:1.1", "r:1.2"]
        assert run.settle("r:1.2", 5).result == 7


def test_without_a_complete_preload_a_local_async_step_asks_before_it_runs() -> None:
    async def body(ctx: Context) -> Any:
        return await ctx.lfc(inner)

    async def inner(ctx: Context) -> Any:
        return await ctx.lfc(leaf, "ran")

    with AsyncRun(body).replay() as run:
        assert run.leaves == ["r", "r:1", "r:1.1"]
        run.replay(complete=False, preload=False)
        assert run.leaves == ["r", "r:1", "r:1.1", "r"]
        assert run.result == "ran"


def test_the_logger_of_a_body_is_silent_while_it_is_replayed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def body(ctx: Context) -> None:
        await ctx.lfc(leaf)
        ctx.logger.info("after the first")
        await far(ctx, "bar")
        ctx.logger.info("after the second")

    with AsyncRun(body) as run, caplog.at_level(logging.INFO, "resonate_amqp.functions"):
        run.replay()
        run.settle("r:2")
        run.replay()
        assert [record.getMessage() for record in caplog.records] == [
            "after the first",
            "after the second",
            "after the second",
        ]
