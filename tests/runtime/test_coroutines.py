"""What an `async def` body may rely on, live and on replay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from resonate_amqp.core.model import PARENT
from resonate_amqp.errors import NotDurable
from resonate_amqp.runtime.commands import Promised
from resonate_amqp.runtime.context import Context, Info
from tests.runtime.bodies import NOW
from tests.runtime.strands import AsyncRun, far, leaf, two_steps


def test_a_remote_call_is_recorded_before_it_is_awaited() -> None:
    async def body(ctx: Context) -> int:
        return int(await far(ctx, "bar", 1)) + 1

    with AsyncRun(body).replay() as run:
        assert run.created == ["r:1"]
        assert run.driver.waits_for() == {"r:1"}
        assert run.settle("r:1", 4).result == 5


def test_what_an_rfi_answers_is_awaited_any_number_of_times() -> None:
    async def body(ctx: Context) -> list[int]:
        promised = await ctx.rfi("x").options(target="elsewhere")
        assert isinstance(promised, Promised)
        return [await promised, await promised, *await asyncio.gather(promised, promised)]

    with AsyncRun(body).replay() as run:
        assert run.settle("r:1", 7).result == [7, 7, 7, 7]


def test_every_kind_of_command_can_be_awaited() -> None:
    async def body(ctx: Context) -> list[Any]:
        await ctx.sleep(1)
        asked = await ctx.promise()
        other = await ctx.lfi(leaf, 2)
        await ctx.detached("x").options(target="elsewhere")
        return [await ctx.lfc(leaf, 1), await other, await asked]

    with AsyncRun(body).replay() as run:
        run.settle("r:1")
        assert run.created == ["r:1", "r:2", "r:3", "r:4", "r:5"]
        assert run.settle("r:2", 3).result == [1, 2, 3]


def test_a_failure_is_raised_where_it_is_awaited() -> None:
    async def body(ctx: Context) -> Any:
        try:
            await far(ctx, "bar")
        except ValueError as error:
            return error.args

    with AsyncRun(body).replay() as run:
        run.settle("r:1", error=ValueError("no", 3))
        assert run.result == ["no", 3]


def test_what_cannot_be_recorded_is_raised_where_it_is_awaited() -> None:
    async def body(ctx: Context) -> str:
        try:
            await far(ctx, "bar", {1})
        except Exception as error:
            return str(error)
        return ""

    with AsyncRun(body).replay() as run:
        assert run.result.startswith("args[0]: set is not a JSON type")


async def gathered(ctx: Context) -> Any:
    return await asyncio.gather(two_steps(ctx, "a"), two_steps(ctx, "b"))


async def in_tasks(ctx: Context) -> Any:
    one = asyncio.create_task(two_steps(ctx, "a"))
    other = asyncio.create_task(two_steps(ctx, "b"))
    return [await one, await other]


async def in_a_group(ctx: Context) -> Any:
    async with asyncio.TaskGroup() as group:
        one = group.create_task(two_steps(ctx, "a"))
        other = group.create_task(two_steps(ctx, "b"))
    return [one.result(), other.result()]


async def waited_for(ctx: Context) -> Any:
    tasks = [asyncio.create_task(two_steps(ctx, name)) for name in "ab"]
    await asyncio.wait(tasks)
    return [task.result() for task in tasks]


async def as_completed(ctx: Context) -> Any:
    tasks = [asyncio.create_task(two_steps(ctx, name)) for name in "ab"]
    for done in asyncio.as_completed(tasks):
        await done
    return [task.result() for task in tasks]


@pytest.mark.parametrize("body", [gathered, in_tasks, in_a_group, waited_for, as_completed])
@pytest.mark.parametrize("order", ["1122", "2211", "1221"])
def test_the_ids_of_branches_do_not_depend_on_which_is_woken_first(
    body: Callable[..., Any], order: str
) -> None:
    with AsyncRun(body).replay() as run:
        assert run.created == ["r:1.1", "r:2.1"]
        seen = {"1": 0, "2": 0}
        for branch in order:
            seen[branch] += 1
            run.settle(f"r:{branch}.{seen[branch]}", f"{branch}{seen[branch]}")
        assert run.result == [["11", "12"], ["21", "22"]]
        assert run.recorded["r:1.1"].tags[PARENT] == "r"
        assert set(run.recorded) == {"r:1.1", "r:1.2", "r:2.1", "r:2.2"}


def test_a_branch_counts_its_own_branches_and_the_body_goes_on_behind_them() -> None:
    async def body(ctx: Context) -> None:
        await far(ctx, "first")
        await asyncio.gather(outer(ctx), outer(ctx))
        await far(ctx, "last")

    async def outer(ctx: Context) -> None:
        await far(ctx, "before")
        await asyncio.gather(far(ctx, "inner"), two_steps(ctx, "inner"))

    with AsyncRun(body).replay() as run:
        for _ in range(20):
            waiting = sorted(run.driver.waits_for())
            if not waiting:
                break
            run.settle(waiting[-1], 1)
        assert run.ended()
        of_a_branch = ["1", "2", "4.1", "4.2"]
        expected = {"r:1", "r:4", *(f"r:{n}.{k}" for n in (2, 3) for k in of_a_branch)}
        assert set(run.recorded) == expected


def test_commands_that_are_given_to_asyncio_keep_the_ids_they_were_built_with() -> None:
    async def body(ctx: Context) -> Any:
        return await asyncio.gather(far(ctx, "a"), far(ctx, "b"))

    with AsyncRun(body).replay() as run:
        assert run.created == ["r:1", "r:2"]
        run.settle("r:2", "b")
        assert run.settle("r:1", "a").result == ["a", "b"]


def test_until_its_first_command_a_body_is_a_leaf_and_may_await_anything() -> None:
    async def body(ctx: Context) -> Any:
        await asyncio.sleep(0.001)
        value = await asyncio.to_thread(lambda: 3)
        return await far(ctx, "bar", value)

    with AsyncRun(body) as run:
        run.replay()
        assert run.created == ["r:1"]
        assert run.driver.waits_for() == {"r:1"}


async def _sleeping() -> None:
    await asyncio.sleep(5)


async def _in_a_thread() -> None:
    await asyncio.to_thread(lambda: None)


async def _with_a_future() -> None:
    await asyncio.get_running_loop().create_future()


async def _gathering_futures() -> None:
    await asyncio.gather(asyncio.get_running_loop().create_future())


@pytest.mark.parametrize("foreign", [_sleeping, _in_a_thread, _with_a_future, _gathering_futures])
@pytest.mark.parametrize("branch", [False, True])
def test_after_its_first_command_a_foreign_await_names_what_to_do(
    foreign: Callable[[], Any], branch: bool
) -> None:
    async def body(ctx: Context) -> str:
        await ctx.lfc(leaf)
        try:
            await (asyncio.create_task(foreign()) if branch else foreign())
        except NotDurable as error:
            return str(error)
        return ""

    with AsyncRun(body).replay() as run:
        assert "after its first durable call" in run.result
        assert "await ctx.lfc(function)" in run.result


def test_a_foreign_await_is_told_with_its_place() -> None:
    async def body(ctx: Context) -> str:
        await ctx.lfc(leaf)
        try:
            await asyncio.sleep(5)
        except NotDurable as error:
            return str(error)
        return ""

    with AsyncRun(body).replay() as run:
        assert "'r' awaited asyncio.tasks.sleep" in run.result


def test_branches_may_wait_for_each_other_by_what_asyncio_has_for_that() -> None:
    async def body(ctx: Context) -> list[Any]:
        queue: asyncio.Queue[Any] = asyncio.Queue(1)
        begun, lock = asyncio.Event(), asyncio.Lock()

        async def produce(name: str) -> None:
            async with lock:
                for n in range(2):
                    await queue.put(await far(ctx, name, n))
                    begun.set()

        producers = asyncio.gather(produce("a"), produce("b"))
        await begun.wait()
        found = [await queue.get() for _ in range(4)]
        await producers
        return found

    with AsyncRun(body).replay() as run:
        for settled in ("r:1.1", "r:1.2", "r:2.1", "r:2.2"):
            assert run.driver.waits_for() == {settled}
            run.settle(settled, settled)
        assert run.result == ["r:1.1", "r:1.2", "r:2.1", "r:2.2"]


def test_an_async_generator_may_await_commands_and_queues() -> None:
    async def body(ctx: Context) -> list[Any]:
        queue: asyncio.Queue[int] = asyncio.Queue()

        async def produce() -> None:
            for n in (1, 2):
                await queue.put(await far(ctx, "make", n))

        async def items() -> AsyncIterator[int]:
            yield await ctx.lfc(leaf, 0)
            for _ in range(2):
                yield await queue.get()

        task = asyncio.create_task(produce())
        found = [item async for item in items()]
        await task
        return found

    with AsyncRun(body).replay() as run:
        run.settle("r:1.1", 10)
        assert run.settle("r:1.2", 20).result == [0, 10, 20]


def test_a_command_awaited_outside_of_its_body_is_an_error() -> None:
    async def outside() -> None:
        await Context("r", Info(1, NOW, 1), {}).sleep(1)

    with pytest.raises(RuntimeError, match="Task got bad yield: Sleep"):
        asyncio.run(outside())
