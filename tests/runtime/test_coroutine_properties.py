"""Any body with branches: its ids and results depend on its code and on what settled, alone."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resonate_amqp.core.model import Promise
from resonate_amqp.runtime.context import Context
from tests.runtime.strands import AsyncRun

Program = list[Any]
MOST_STEPS = 200

leaves = st.sampled_from(["far", "local", "sleep", "started", "gathered", "forgotten"])
programs: st.SearchStrategy[Program] = st.recursive(
    st.lists(leaves, max_size=3),
    lambda inner: st.lists(
        leaves
        | st.tuples(
            st.sampled_from(["gather", "group", "wait", "late", "local workflow"]),
            st.lists(inner, min_size=1, max_size=3),
        ).map(list),
        max_size=3,
    ),
    max_leaves=12,
)
races: st.SearchStrategy[Program] = st.lists(
    st.tuples(
        st.just("race"),
        st.lists(st.lists(st.just("far"), min_size=1, max_size=3), min_size=2, max_size=3),
    ).map(list),
    min_size=1,
    max_size=2,
)


def leaf(_ctx: Context, value: Any) -> Any:
    return value


async def interpret(ctx: Context, program: Program) -> list[Any]:
    """Run a program: each line is a command, or branches that run programs of their own."""
    results: list[Any] = []
    left: list[asyncio.Task[Any]] = []
    for line in program:
        match line:
            case "far":
                results.append(await ctx.rfc("f", len(results)).options(target="elsewhere"))
            case "local":
                results.append(await ctx.lfc(leaf, len(results)))
            case "sleep":
                results.append(await ctx.sleep(1))
            case "started":
                started = await ctx.rfi("f", len(results)).options(target="elsewhere")
                results.append([await started, await started])
            case "gathered":
                far = ctx.rfc("f").options(target="elsewhere")
                results.append(await ctx.gather(far, ctx.lfc(leaf, 1)))
            case "forgotten":
                ctx.rfc("f").options(target="elsewhere")
            case [how, inner]:
                results.append(await branches(ctx, how, inner, left))
    results += await asyncio.gather(*left)
    return results


async def branches(
    ctx: Context, how: str, inner: list[Program], left: list[asyncio.Task[Any]]
) -> Any:
    match how:
        case "gather":
            return await asyncio.gather(*(interpret(ctx, one) for one in inner))
        case "group":
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(interpret(ctx, one)) for one in inner]
            return [task.result() for task in tasks]
        case "local workflow":
            return await asyncio.gather(*(ctx.lfc(interpret, one) for one in inner))
    tasks = [asyncio.create_task(interpret(ctx, one)) for one in inner]
    if how == "late":
        left += tasks
        return None
    when = asyncio.FIRST_COMPLETED if how == "race" else asyncio.ALL_COMPLETED
    done, _ = await asyncio.wait(tasks, return_when=when)
    first = [place for place, task in enumerate(tasks) if task in done]
    told = await ctx.rfc("told", first).options(target="elsewhere")
    return [first, told, await asyncio.gather(*tasks)]


def to_the_end(run: AsyncRun, choose: Any = min) -> AsyncRun:
    """Settle what the body waits for, one by one, as `choose` says."""
    for _ in range(MOST_STEPS):
        if run.ended():
            return run
        assert run.halted is None, run.halted
        waiting = sorted(run.driver.waits_for())
        assert waiting, "a body that is not finished waits for something"
        chosen = choose(waiting)
        run.settle(chosen, f"value of {chosen}")
    raise AssertionError("the body did not end")


def outcome(run: AsyncRun) -> dict[str, tuple[Any, ...]]:
    """By id, what was asked for and what it came to; when does not count."""

    def of(one: Promise) -> tuple[Any, ...]:
        return (one.param, one.tags, one.state, one.value)

    assert run.finished is not None
    return {one.id: of(one) for one in run.recorded.values()} | {"r": (run.finished,)}


relaxed = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.data_too_large]
)


@given(program=programs, data=st.data())
@relaxed
def test_ids_and_results_do_not_depend_on_the_order_in_which_branches_are_woken(
    program: Program, data: st.DataObject
) -> None:
    with AsyncRun(interpret, program).replay() as straight:
        expected = outcome(to_the_end(straight))
    with AsyncRun(interpret, program).replay() as run:
        any_order = to_the_end(run, lambda waiting: data.draw(st.sampled_from(waiting)))
        assert outcome(any_order) == expected
        assert not run.unbidden, "a turn was told before the body was quiet"


@given(program=programs, data=st.data())
@relaxed
def test_a_replay_from_any_prefix_of_the_record_ends_alike(
    program: Program, data: st.DataObject
) -> None:
    def anyone(waiting: list[str]) -> str:
        return data.draw(st.sampled_from(waiting))

    with AsyncRun(interpret, program).replay() as first:
        expected = outcome(to_the_end(first, anyone))
        history = list(first.history)
    prefixes = data.draw(st.lists(st.sampled_from(history), min_size=1, max_size=3))
    for prefix in prefixes:
        with AsyncRun(interpret, program).resume_from(prefix) as run:
            assert outcome(to_the_end(run, anyone)) == expected
            settled = {one.id for one in prefix.values() if not one.pending}
            assert not settled & set(run.leaves), "a finished step ran again"


@given(program=races, data=st.data())
@relaxed
def test_who_was_first_is_the_same_on_replay(program: Program, data: st.DataObject) -> None:
    order: list[str] = []

    def anyone(waiting: list[str]) -> str:
        order.append(data.draw(st.sampled_from(waiting)))
        return order[-1]

    with AsyncRun(interpret, program).replay() as first:
        expected = outcome(to_the_end(first, anyone))
        history = list(first.history)
    prefix = data.draw(st.sampled_from(history))
    with AsyncRun(interpret, program) as run:
        run.instant += len(history)
        run.resume_from(prefix)
        again = to_the_end(run, lambda waiting: min(waiting, key=order.index))
        assert outcome(again) == expected
