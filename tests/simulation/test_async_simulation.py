"""Whatever is lost, doubled, delayed, cut or killed: an `async def` workflow ends, and ends right.

Its branches are woken in another order by every seed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from resonate_amqp.core.model import PromiseState
from resonate_amqp.runtime.context import Context
from resonate_amqp.runtime.registry import Registry
from tests.simulation.stage import Stage

SEEDS = 100
BLOCKS = 5
RESULT = [[0, 2, 4], [1, 3, 5], 15, [6, 7]]


def double(ctx: Context, n: int) -> int:
    ctx.get_dependency("ran")[ctx.id] += 1
    return 2 * n


async def odd(ctx: Context, n: int) -> int:
    await ctx.sleep(0.05 * (3 - n))
    return int(await ctx.rfc("double", n)) + 1


def total(ctx: Context) -> Generator[Any, Any, int]:
    numbers = yield ctx.gather(*(ctx.rfc("double", n) for n in range(4)), ctx.lfc(odd, 1))
    return sum(numbers)


async def story(ctx: Context) -> list[Any]:
    started = await ctx.rfi("total")
    async with asyncio.TaskGroup() as group:
        evens = [group.create_task(even(ctx, n)) for n in range(3)]
        odds = [group.create_task(odd_of(ctx, n)) for n in range(3)]
    queue: asyncio.Queue[int] = asyncio.Queue(1)
    _, taken = await asyncio.gather(put(ctx, queue), take(queue))
    return [[one.result() for one in evens], [one.result() for one in odds], await started, taken]


async def even(ctx: Context, n: int) -> int:
    result: int = await ctx.lfc("double", n)
    return result


async def odd_of(ctx: Context, n: int) -> int:
    result: int = await ctx.rfc("odd", n)
    return result


async def put(ctx: Context, queue: asyncio.Queue[int]) -> None:
    await queue.put(int(await ctx.rfc("double", 3)))
    await queue.put(int(await ctx.lfc(odd, 3)))


async def take(queue: asyncio.Queue[int]) -> list[int]:
    return [await queue.get(), await queue.get()]


def played(seed: int, *, rough: bool) -> Stage:
    registry = Registry()
    for func in (double, odd, total, story):
        registry.register(func)
    stage = Stage(seed, registry, rough=rough)
    stage.call("story")
    try:
        assert stage.play() == RESULT
        stage.check()
    except Exception as error:
        raise AssertionError(f"seed {seed}, round {stage.rounds}: {error}") from error
    finally:
        stage.close()
    return stage


def test_on_a_good_day_every_step_runs_once() -> None:
    for seed in range(10):
        stage = played(seed, rough=False)
        assert len(stage.ran) == 13
        assert set(stage.ran.values()) == {1}


@pytest.mark.parametrize("block", range(BLOCKS))
def test_whatever_goes_wrong_the_result_is_right(block: int) -> None:
    """On failure the message names the seed: `played(SEED, rough=True)` shows it again."""
    for seed in range(block * SEEDS // BLOCKS, (block + 1) * SEEDS // BLOCKS):
        stage = played(seed, rough=True)
        settled = [p for p in stage.ledger.promises.values() if not p.pending]
        assert all(p.state is PromiseState.RESOLVED for p in settled), f"seed {seed}"
        assert len(stage.ran) == 13, f"seed {seed}"
