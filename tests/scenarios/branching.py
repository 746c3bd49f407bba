"""An `async def` workflow with branches, served by service g.

g: tree ──▶ in each branch a local step, a durable sleep, and c: work
"""

from __future__ import annotations

import asyncio

from resonate_amqp import Context, Resonate
from tests.scenarios.journal import own_journal

journal = own_journal()
g = Resonate(group="service-g")


@g.register
async def tree(ctx: Context, width: int) -> list[int]:
    journal.began("tree", ctx.id)
    return await asyncio.gather(*(branch(ctx, number) for number in range(width)))


async def branch(ctx: Context, number: int) -> int:
    own: int = await ctx.lfc(step, number)
    if number % 2:
        await ctx.sleep(0.05)
    async with asyncio.TaskGroup() as group:
        halves = [group.create_task(call(ctx, own)) for _ in range(2)]
    return sum(half.result() for half in halves)


async def call(ctx: Context, number: int) -> int:
    result: int = await ctx.rfc("work", number).options(target="poll://any@service-c")
    return result


def step(ctx: Context, number: int) -> int:
    journal.began("step", ctx.id)
    return number
