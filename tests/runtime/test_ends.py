"""What a body leaves behind when it ends, and that nothing begins after its end."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from resonate_amqp.core.model import PromiseState
from resonate_amqp.core.requests import PromiseSettle
from resonate_amqp.errors import NotDurable, UsageError
from resonate_amqp.runtime.context import Context
from resonate_amqp.runtime.registry import Registry
from resonate_amqp.runtime.retry import Constant
from resonate_amqp.runtime.wants import Finish
from tests.runtime.bodies import NOW, Run
from tests.runtime.strands import AsyncRun, far, leaf

CANCELED = PromiseState.REJECTED_CANCELED
Body = Generator[Any, Any, Any]


def test_timers_and_external_promises_that_a_body_leaves_are_canceled_with_its_end() -> None:
    def body(ctx: Context) -> Body:
        yield ctx.promise()
        yield ctx.promise(id="approval-7")
        yield ctx.gather(ctx.lfc(leaf), return_exceptions=True)
        return 1

    run = Run(body)
    run.replay()
    assert run.result == 1
    assert [run.recorded[one].state for one in ("r:1", "r:2")] == [CANCELED, CANCELED]


def test_what_a_body_leaves_is_canceled_in_the_group_of_its_outcome() -> None:
    def body(ctx: Context) -> Body:
        yield ctx.promise()
        yield far(ctx, "a")
        return 1

    run = Run(body).replay()
    run.driver.learn(run._settle(PromiseSettle(id="r:2", state=PromiseState.RESOLVED)), NOW)
    canceled, finish = run.driver.take()
    assert isinstance(canceled, PromiseSettle)
    assert (canceled.id, canceled.state) == ("r:1", CANCELED)
    assert isinstance(finish, Finish)


def test_a_promise_that_serves_a_call_under_way_is_kept_until_that_has_ended() -> None:
    def body(ctx: Context) -> Body:
        decision = yield ctx.promise()
        yield ctx.rfi("decide", decision.id).options(target="elsewhere")
        return 1

    run = Run(body).replay()
    assert not run.ended()
    assert run.recorded["r:1"].pending
    run.settle("r:2")
    assert run.ended()
    assert run.recorded["r:1"].state is CANCELED


def test_a_body_that_fails_leaves_no_more_behind_than_one_that_returns() -> None:
    def body(ctx: Context) -> Body:
        yield ctx.promise()
        ctx.compensate(leaf, 1)
        yield ctx.lfc(leaf)
        raise ValueError("no")

    run = Run(body).replay()
    assert run.state is PromiseState.REJECTED
    assert run.recorded["r:1"].state is CANCELED
    assert run.leaves == ["r:3", "r:2"]


def test_tasks_that_only_wait_are_no_branches_to_be_finished() -> None:
    async def body(ctx: Context) -> Any:
        decision = await ctx.promise()
        answer = asyncio.ensure_future(decision)
        pause = asyncio.ensure_future(ctx.sleep(3_600))
        call = asyncio.ensure_future(far(ctx, "a"))
        await asyncio.wait([answer, pause, call], return_when=asyncio.FIRST_COMPLETED)
        return answer.done()

    with AsyncRun(body).replay() as run:
        run.settle("r:1", "yes")
        assert not run.ended(), "a call that runs code is waited for"
        run.settle("r:5")
        assert run.result is True
        assert run.recorded["r:3"].state is CANCELED
        assert run.replay().result is True
        assert run.replay(preload=False, complete=False).result is True


@pytest.mark.parametrize("direct", [True, False], ids=["its own", "through a variable's part"])
def test_a_branch_that_nobody_awaits_is_finished_by_a_body_without_a_call_of_its_own(
    direct: bool,
) -> None:
    async def side(holder: Any) -> None:
        ctx = holder if isinstance(holder, Context) else holder["ctx"]
        await asyncio.sleep(0)
        await ctx.lfc(leaf, 1)
        await ctx.lfc(leaf, 2)

    async def body(ctx: Context) -> int:
        task = asyncio.create_task(side(ctx if direct else {"ctx": ctx}))
        del task
        return 7

    with AsyncRun(body).replay() as run:
        assert run.result == 7
        assert run.leaves == ["r", "r:1.1", "r:1.2"]


def test_a_task_that_cannot_make_a_durable_call_does_not_hold_a_leaf() -> None:
    async def background(event: asyncio.Event) -> None:
        await event.wait()

    async def body(_ctx: Context) -> int:
        kept.append(asyncio.create_task(background(asyncio.Event())))
        return 7

    kept: list[asyncio.Task[None]] = []
    with AsyncRun(body).replay() as run:
        assert run.result == 7
        kept[0].cancel()


def test_no_step_begins_once_the_deadline_has_come() -> None:
    def body(ctx: Context) -> Body:
        try:
            yield far(ctx, "a")
        except Exception:
            yield ctx.lfc(leaf, "fallback")
        finally:
            closed.append(True)

    closed: list[bool] = []
    run = Run(body, timeout_ms=5_000).replay()
    run.now = NOW + 5_000
    run.settle("r:1", error=ValueError("late"))
    assert (run.leaves, run.ended()) == ([], False)
    assert run.driver.expired == "its deadline has passed"
    run.driver.close()
    assert closed == [True]


def test_a_replay_after_the_deadline_begins_nothing() -> None:
    def body(ctx: Context) -> Body:
        yield ctx.lfc(leaf, 1)

    run = Run(body, timeout_ms=5_000)
    run.now = NOW + 5_000
    run.replay()
    assert (run.leaves, run.created) == ([], [])
    assert run.driver.expired


@pytest.mark.parametrize("what", ["sleep", "promise"])
def test_what_would_outlast_the_deadline_is_refused_where_it_is_asked_for(what: str) -> None:
    def body(ctx: Context) -> Body:
        yield far(ctx, "a")
        try:
            yield ctx.sleep(4) if what == "sleep" else ctx.promise(timeout=4)
        except UsageError as error:
            return str(error)

    run = Run(body, timeout_ms=5_000).replay()
    run.now = NOW + 3_000
    run.settle("r:1")
    assert f"the {what} would last until" in run.result
    assert ".options(timeout=…)" in run.result
    assert run.replay().result == run.result


def test_a_sleep_that_is_under_way_is_not_refused_by_a_replay_near_its_end() -> None:
    def body(ctx: Context) -> Body:
        yield ctx.sleep(4)
        return 1

    run = Run(body, timeout_ms=5_000).replay()
    run.now = NOW + 3_000
    run.replay()
    assert run.driver.waits_for() == {"r:1"}


@pytest.mark.parametrize("limit", ["wait_for", "timeout", "wait", "as_completed"])
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_limits_by_the_clock_of_the_process_are_refused_naming_what_is_durable(
    limit: str, first: bool
) -> None:
    async def body(ctx: Context) -> Any:
        if not first:
            await ctx.lfc(leaf)
        try:
            await under(limit, far(ctx, "a"))
        except NotDurable as error:
            return str(error)

    async def under(limit: str, call: Any) -> Any:
        match limit:
            case "wait_for":
                return await asyncio.wait_for(call, 60)
            case "timeout":
                async with asyncio.timeout(60):
                    return await call
            case "wait":
                done, _ = await asyncio.wait([asyncio.ensure_future(call)], timeout=60)
                return [one.result() for one in done]
            case _:
                return [await one for one in asyncio.as_completed([call], timeout=60)]

    with AsyncRun(body).replay() as run:
        for begun in run.driver.waits_for():
            run.settle(begun)
        assert "ctx.timeout" in run.result


def test_a_leaf_may_limit_what_it_waits_for_as_ever() -> None:
    async def body(ctx: Context) -> Any:
        async with asyncio.timeout(60):
            await asyncio.wait_for(asyncio.sleep(0), 60)
        return (await ctx.lfc(leaf, 1)) + 1

    with AsyncRun(body).replay() as run:
        assert run.result == 2


def test_a_retry_policy_of_a_generator_is_refused() -> None:
    def flow(ctx: Context) -> Body:
        yield ctx.lfc(leaf)

    with pytest.raises(UsageError, match=r"'flow' is a generator.*its own policy"):
        Registry().register(flow, retry=Constant())

    def body(ctx: Context) -> Body:
        try:
            yield ctx.lfc(flow).options(retry_policy=Constant())
        except UsageError as error:
            return str(error)

    assert "is a generator" in Run(body).replay().result


def test_a_value_that_is_lost_to_the_deadline_is_told_with_the_calls_it_waited_for() -> None:
    def body(ctx: Context) -> Body:
        yield ctx.promise()
        yield ctx.rfi("slow").options(target="elsewhere")
        return 1

    run = Run(body, timeout_ms=5_000).replay()
    run.now = NOW + 5_000
    run.settle("r:2")
    assert not run.ended()
    assert "what it returned is lost: it waited for r:2" in run.driver.expired
