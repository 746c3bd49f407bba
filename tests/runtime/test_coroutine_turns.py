"""When an `async def` body is quiet, how its branches end, and how it is closed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resonate_amqp.core.model import PromiseState
from resonate_amqp.runtime.context import Context
from tests.runtime.strands import AsyncRun, far, leaf, two_steps


def test_a_branch_that_only_lets_others_run_holds_nobody_up() -> None:
    async def body(ctx: Context) -> str:
        arrived = []

        async def call() -> None:
            arrived.append(await far(ctx, "bar"))

        task = asyncio.create_task(call())
        while not arrived:
            await asyncio.sleep(0)
        await task
        return str(arrived[0])

    with AsyncRun(body).replay() as run:
        assert run.created == ["r:1.1"]
        assert run.driver.waits_for() == frozenset()
        assert run.settle("r:1.1", "here").result == "here"


def test_canceling_a_branch_cancels_what_it_awaits() -> None:
    async def body(ctx: Context) -> str:
        task = asyncio.create_task(two_steps(ctx, "a"))
        await ctx.lfc(leaf)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return "canceled"
        return "not"

    with AsyncRun(body).replay() as run:
        assert run.result == "canceled"
        assert run.recorded["r:1.1"].state is PromiseState.REJECTED_CANCELED
        assert run.replay().result == "canceled"
        assert run.replay(preload=False, complete=False).result == "canceled"


def test_a_branch_that_is_canceled_before_it_begins_is_no_trouble() -> None:
    async def body(ctx: Context) -> str:
        await ctx.lfc(leaf)
        task = asyncio.create_task(two_steps(ctx, "a"))
        task.cancel()
        await asyncio.wait([task])
        return str(task.cancelled())

    with AsyncRun(body).replay() as run:
        assert run.result == "True"


def test_a_branch_nobody_awaits_is_finished_before_its_body_settles() -> None:
    async def body(ctx: Context) -> str:
        started.append(asyncio.create_task(two_steps(ctx, "a")))
        await ctx.lfc(leaf)
        return "mine"

    started: list[Any] = []
    with AsyncRun(body).replay() as run:
        assert not run.ended()
        run.settle("r:1.1")
        assert not run.ended()
        assert run.settle("r:1.2").result == "mine"


def test_a_branch_that_nobody_can_wake_any_more_is_canceled_at_the_end() -> None:
    async def body(ctx: Context) -> str:
        queue: asyncio.Queue[int] = asyncio.Queue()
        started.append(asyncio.create_task(queue.get()))
        await ctx.lfc(leaf)
        return "mine"

    started: list[asyncio.Task[Any]] = []
    with AsyncRun(body).replay() as run:
        assert run.result == "mine"
        assert started[0].cancelled()


def test_a_body_waits_quietly_only_when_every_branch_does() -> None:
    async def body(ctx: Context) -> None:
        await asyncio.gather(two_steps(ctx, "a"), ctx.lfc(slow))

    def slow(_ctx: Context) -> None:
        quiet.append(run.driver.waits_for())

    quiet: list[Any] = []
    with AsyncRun(body) as run:
        run.replay()
        assert quiet == [frozenset()]
        assert run.driver.waits_for() == {"r:2.1"}


def test_a_turn_is_told_once_however_deep_the_gathers_are_nested() -> None:
    async def body(ctx: Context) -> Any:
        both: Any = asyncio.gather(two_steps(ctx, "a"), two_steps(ctx, "b"))
        for _ in range(20):
            both = asyncio.gather(both)
        while not isinstance(both := await both if asyncio.isfuture(both) else both[0], str):
            await far(ctx, "next")
        return both

    with AsyncRun(body).replay() as run:
        while not run.ended():
            run.settle(min(run.driver.waits_for()), "settled")
        assert run.result == "settled"
        assert not run.unbidden


def test_a_body_is_not_quiet_while_the_loop_carries_news_from_branch_to_branch() -> None:
    async def body(ctx: Context) -> str:
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        task = asyncio.create_task(two_steps(ctx, "a"))
        task.add_done_callback(lambda _task: loop.call_soon(loop.call_soon, event.set))
        await event.wait()
        return "heard"

    with AsyncRun(body).replay() as run:
        run.settle("r:1.1")
        assert run.settle("r:1.2").result == "heard"
        assert not run.unbidden


def test_closing_a_body_runs_its_finally_blocks_and_leaves_no_task() -> None:
    closed = []

    async def body(ctx: Context) -> None:
        async def branch() -> None:
            try:
                await far(ctx, "bar")
            finally:
                closed.append("branch")

        try:
            await asyncio.gather(branch(), branch())
        finally:
            closed.append("body")
            await asyncio.Event().wait()
            closed.append("never")

    with AsyncRun(body).replay() as run:
        run.driver.close()
        run.drain()
        assert sorted(closed) == ["body", "branch", "branch"]
        assert run.driver.take() == []
        assert not asyncio.all_tasks(run.loop)


def test_a_body_that_will_not_be_closed_is_abandoned(caplog: pytest.LogCaptureFixture) -> None:
    async def body(ctx: Context) -> None:
        while stubborn:
            try:
                await far(ctx, "bar")
            except BaseException:
                caught.append(1)

    caught: list[int] = []
    stubborn = [True]
    with AsyncRun(body).replay() as run:
        run.driver.close()
        for _ in range(100):
            run.drain()
        stubborn.clear()
    assert "r was closed and goes on waiting in" in caplog.text
    assert len(caught) < 1000


def test_a_branch_that_exits_is_an_error_and_not_the_end_of_the_process() -> None:
    async def body(ctx: Context) -> Any:
        async def leave() -> None:
            await ctx.lfc(leaf)
            raise SystemExit(3)

        return await asyncio.gather(leave())

    with AsyncRun(body).replay() as run:
        assert run.state is PromiseState.REJECTED
        assert "SystemExit(3)" in run.result["message"]
