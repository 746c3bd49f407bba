"""What cuts an await short: races, time limits, and canceling what awaits."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from resonate_amqp.core.model import PromiseState
from resonate_amqp.errors import Canceled, RemoteError, UsageError
from resonate_amqp.runtime.commands import Winner
from resonate_amqp.runtime.context import Context
from tests.runtime.bodies import NOW, Run
from tests.runtime.strands import AsyncRun, far, leaf

CANCELED = PromiseState.REJECTED_CANCELED
Body = Generator[Any, Any, Any]


def due(run: Run, promise_id: str) -> None:
    """The timer's instant has come."""
    promise = run.recorded[promise_id]
    run.now = promise.timeout_at
    if isinstance(run, AsyncRun):
        run.instant = run.now
    run.recorded[promise_id] = promise.but(
        state=PromiseState.RESOLVED, settled_at=promise.timeout_at
    )
    run.driver.learn(run.recorded[promise_id], run.now)
    run.pump()


def again(run: Run) -> list[Any]:
    """What the body comes to when it is replayed, with its record preloaded and without."""
    return [run.replay().result, run.replay(preload=False, complete=False).result]


def test_the_first_of_a_race_wins_and_the_others_are_canceled() -> None:
    def body(ctx: Context) -> Body:
        winner = yield ctx.race(far(ctx, "a"), far(ctx, "b"), ctx.sleep(60))
        return list(winner)

    run = Run(body).replay()
    run.settle("r:2", "b came")
    assert run.result == [1, "b came"]
    assert [run.recorded[one].state for one in ("r:1", "r:3")] == [CANCELED, CANCELED]
    assert again(run) == [[1, "b came"]] * 2


def test_a_race_is_decided_by_when_its_parts_were_settled_and_not_by_who_is_heard_first() -> None:
    def body(ctx: Context) -> Body:
        winner = yield ctx.race(far(ctx, "a"), far(ctx, "b"))
        return winner.position

    run = Run(body).replay()
    first = run.recorded["r:1"].but(state=PromiseState.RESOLVED, settled_at=NOW + 1)
    run.recorded["r:1"] = first
    late = run.recorded["r:2"].but(state=PromiseState.RESOLVED, settled_at=NOW + 2)
    run.recorded["r:2"] = late
    run.driver.learn(late, NOW)
    run.pump()
    assert run.result == 0
    assert again(run) == [0, 0]


def test_a_race_raises_what_its_first_failed_with() -> None:
    def body(ctx: Context) -> Body:
        try:
            yield ctx.race(far(ctx, "a"), ctx.promise())
        except LookupError as error:
            return str(error)

    run = Run(body).replay().settle("r:1", error=LookupError("no seat"))
    assert run.result == "no seat"
    assert run.recorded["r:2"].state is CANCELED


def test_a_race_of_what_was_started_before_takes_what_yielding_it_answered() -> None:
    def body(ctx: Context) -> Body:
        decision = yield ctx.promise()
        winner = yield ctx.race(decision, ctx.sleep(60))
        return [isinstance(winner, Winner), winner.value]

    run = Run(body).replay().settle("r:1", "yes")
    assert run.result == [True, "yes"]
    assert run.recorded["r:2"].state is CANCELED


def test_the_local_step_that_lost_a_race_is_recorded_as_canceled() -> None:
    def body(ctx: Context) -> Body:
        winner = yield ctx.race(ctx.lfi(slow), far(ctx, "a"))
        return winner.value

    def slow(ctx: Context) -> Body:
        yield ctx.sleep(60)

    run = Run(body).replay().settle("r:2", "a")
    assert run.result == "a"
    assert [run.recorded[one].state for one in ("r:1", "r:1.1")] == [CANCELED, CANCELED]
    assert again(run) == ["a", "a"]


@pytest.mark.parametrize("wrong", [(), (1,)], ids=["nothing", "no command"])
def test_a_race_of_nothing_is_refused(wrong: tuple[Any, ...]) -> None:
    def body(ctx: Context) -> Body:
        with pytest.raises(UsageError, match=r"ctx\.race"):
            ctx.race(*wrong)
        yield ctx.lfc(leaf)
        return 1

    assert Run(body).replay().result == 1


def test_a_detached_call_which_nothing_here_cancels_is_refused_where_it_would_be() -> None:
    def body(ctx: Context) -> Body:
        started = yield ctx.detached("a").options(target="elsewhere")
        with pytest.raises(UsageError, match=r"'r:1' is detached.*ctx\.get"):
            yield ctx.race(started, far(ctx, "b"))
        with ctx.timeout(5), pytest.raises(UsageError, match=r"'r:1' is detached.*ctx\.get"):
            yield started

    assert Run(body).replay().settle("r:2").ended()


def limited(ctx: Context) -> Body:
    try:
        with ctx.timeout(5):
            first = yield far(ctx, "a")
            second = yield far(ctx, "b")
    except TimeoutError as error:
        return f"late: {error}"
    return [first, second]


def test_a_limit_that_is_kept_is_canceled_with_its_block() -> None:
    run = Run(limited).replay().settle("r:2", 1).settle("r:3", 2)
    assert run.result == [1, 2]
    assert run.recorded["r:1"].state is CANCELED
    assert again(run) == [[1, 2]] * 2


def test_a_limit_raises_where_its_block_waits_and_cancels_what_that_waited_for() -> None:
    run = Run(limited).replay().settle("r:2", 1)
    run.driver.take()
    due(run, "r:1")
    assert run.result == "late: 'r:1': the limit of 5 s has passed"
    assert run.recorded["r:3"].state is CANCELED
    assert again(run) == [run.result] * 2


def test_what_was_settled_before_the_limit_counts_although_it_is_heard_later() -> None:
    run = Run(limited).replay()
    run.recorded["r:2"] = run.recorded["r:2"].but(
        state=PromiseState.RESOLVED, settled_at=NOW + 4_999
    )
    due(run, "r:1")
    assert run.recorded["r:2"].state is PromiseState.RESOLVED
    assert run.created == ["r:2", "r:1", "r:3"], "the block went on to its second call"
    assert run.result == "late: 'r:1': the limit of 5 s has passed"
    assert again(run) == [run.result] * 2


def test_a_limit_in_a_race_raises_when_it_is_the_first() -> None:
    def body(ctx: Context) -> Body:
        try:
            yield ctx.race(far(ctx, "a"), ctx.timeout(5))
        except TimeoutError:
            return "late"

    run = Run(body).replay()
    due(run, "r:2")
    assert run.result == "late"
    assert run.recorded["r:1"].state is CANCELED
    assert again(run) == ["late", "late"]


def test_the_inner_of_two_limits_may_pass_alone() -> None:
    def body(ctx: Context) -> Body:
        with ctx.timeout(60):
            try:
                with ctx.timeout(5):
                    yield far(ctx, "a")
            except TimeoutError:
                return (yield far(ctx, "b"))

    run = Run(body).replay()
    due(run, "r:2")
    run.settle("r:4", "b")
    assert run.result == "b"
    assert run.recorded["r:1"].state is CANCELED
    assert again(run) == ["b", "b"]


def test_a_limit_in_a_plain_function_is_refused() -> None:
    def plain(ctx: Context) -> None:
        with ctx.timeout(5):
            pass

    def body(ctx: Context) -> Body:
        try:
            yield ctx.lfc(plain)
        except RemoteError as error:
            return str(error)

    assert "plain function" in Run(body).replay().result


async def async_limited(ctx: Context) -> Any:
    try:
        async with ctx.timeout(5):
            return await asyncio.gather(two(ctx, "a"), two(ctx, "b"))
    except TimeoutError as error:
        return f"late: {error}"


async def two(ctx: Context, name: str) -> list[Any]:
    return [await far(ctx, name, 1), await far(ctx, name, 2)]


def test_a_limit_of_a_coroutine_holds_for_the_branches_in_its_block() -> None:
    with AsyncRun(async_limited).replay() as run:
        run.settle("r:2.1", 1)
        due(run, "r:1")
        assert run.result == "late: 'r:1': the limit of 5 s has passed"
        canceled = [one for one, promise in run.recorded.items() if promise.state is CANCELED]
        assert sorted(canceled) == ["r:2.2", "r:3.1"]
        assert again(run) == [run.result] * 2


def test_a_limit_of_a_coroutine_that_is_kept_is_canceled() -> None:
    with AsyncRun(async_limited).replay() as run:
        for step in ("r:2.1", "r:3.1", "r:2.2", "r:3.2"):
            run.settle(step, step)
        assert run.result == [["r:2.1", "r:2.2"], ["r:3.1", "r:3.2"]]
        assert run.recorded["r:1"].state is CANCELED
        assert again(run) == [run.result] * 2


def test_a_coroutine_races_commands() -> None:
    async def body(ctx: Context) -> Any:
        decision = await ctx.promise()
        position, value = await ctx.race(decision, ctx.sleep(3_600))
        return [position, value]

    with AsyncRun(body).replay() as run:
        run.settle("r:1", "yes")
        assert run.result == [0, "yes"]
        assert run.recorded["r:2"].state is CANCELED
        assert again(run) == [[0, "yes"]] * 2


def test_the_branch_that_a_body_cancels_does_not_hold_its_result() -> None:
    async def body(ctx: Context) -> Any:
        decision = await ctx.promise()
        answer = asyncio.ensure_future(decision)
        pause = asyncio.ensure_future(ctx.sleep(3_600))
        await asyncio.wait([answer, pause], return_when=asyncio.FIRST_COMPLETED)
        loser = pause if answer.done() else answer
        loser.cancel()
        return answer.done()

    with AsyncRun(body).replay() as run:
        run.settle("r:1", "yes")
        assert run.result is True
        assert run.recorded["r:3"].state is CANCELED
        assert again(run) == [True, True]


def test_a_canceled_await_is_heard_of_where_its_promise_is_awaited_again() -> None:
    async def body(ctx: Context) -> Any:
        started = await ctx.rfi("a").options(target="elsewhere")
        task = asyncio.ensure_future(started)
        await ctx.lfc(leaf)
        task.cancel()
        await asyncio.wait([task])
        try:
            return await started
        except Canceled:
            return "canceled"

    with AsyncRun(body).replay() as run:
        assert run.result == "canceled"
        assert again(run) == ["canceled", "canceled"]


def test_a_promise_that_another_branch_awaits_too_is_not_canceled() -> None:
    async def body(ctx: Context) -> Any:
        started = await ctx.rfi("a").options(target="elsewhere")
        tasks = [asyncio.ensure_future(started) for _ in range(2)]
        await ctx.lfc(leaf)
        tasks[0].cancel()
        return await tasks[1]

    with AsyncRun(body).replay() as run:
        assert run.recorded["r:1"].pending
        assert run.settle("r:1", "a").result == "a"


def test_a_shielded_call_goes_on() -> None:
    async def body(ctx: Context) -> Any:
        call = asyncio.ensure_future(far(ctx, "a"))

        async def patient() -> Any:
            return await asyncio.shield(call)

        task = asyncio.create_task(patient())
        await ctx.lfc(leaf)
        task.cancel()
        return await call

    with AsyncRun(body).replay() as run:
        assert not run.ended()
        assert run.settle("r:1", "a").result == "a"
