"""Context variables: what one body or leaf sets no other sees."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextvars import ContextVar
from typing import Any

from resonate_amqp import Constant, Context, Resonate
from resonate_amqp.testing import System

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
Flow = Generator[Any, Any, Any]


def test_workflows_keep_their_variables_between_steps_and_see_no_others() -> None:
    with System() as system:
        resonate = system.resonate("tenants")

        @resonate.register
        def flow(ctx: Context, name: str) -> Flow:
            before = tenant.get()
            tenant.set(name)
            yield ctx.sleep(1)
            return [before, tenant.get(), (yield ctx.lfc(inner))]

        def inner(ctx: Context) -> Flow:
            before = tenant.get()
            tenant.set("inner")
            yield ctx.sleep(1)
            return before

        @resonate.register
        async def branches(ctx: Context, name: str) -> list[str]:
            before = tenant.get()
            tenant.set(name)
            told = await asyncio.gather(*(branch(ctx, number) for number in range(2)))
            return [before, tenant.get(), *told]

        async def branch(ctx: Context, number: int) -> str:
            before = tenant.get()
            tenant.set(f"branch {number}")
            await ctx.sleep(1)
            return f"{before}, {tenant.get()}"

        handles = [resonate.rpc(name, flow, name) for name in ("a", "b")]
        coroutines = [resonate.rpc(f"async-{name}", branches, name) for name in ("a", "b")]
        for _ in range(4):
            system.advance(1)
        assert [one.result() for one in handles] == [
            ["nobody", "a", "nobody"],
            ["nobody", "b", "nobody"],
        ]
        assert [one.result() for one in coroutines] == [
            ["nobody", name, f"{name}, branch 0", f"{name}, branch 1"] for name in ("a", "b")
        ]


def test_leaves_see_neither_each_others_variables_nor_those_of_their_own_attempts() -> None:
    seen: list[str] = []

    with Resonate(threads=1) as resonate:

        @resonate.register(retry_policy=Constant(0.01, max_retries=1))
        def leaf(ctx: Context, name: str) -> str:
            seen.append(tenant.get())
            tenant.set(name)
            if ctx.info.attempt == 1:
                raise LookupError(name)
            return tenant.get()

        @resonate.register
        async def async_leaf(_ctx: Context, name: str) -> str:
            seen.append(tenant.get())
            tenant.set(name)
            await asyncio.sleep(0)
            return tenant.get()

        for number in range(2):
            assert resonate.rpc(f"leaf-{number}", leaf, f"t{number}").result() == f"t{number}"
            assert resonate.rpc(f"async-{number}", async_leaf, f"t{number}").result() == (
                f"t{number}"
            )
    assert set(seen) == {"nobody"}


def test_what_the_caller_had_set_is_not_handed_to_what_it_calls() -> None:
    tenant.set("caller")
    with Resonate() as resonate:

        @resonate.register
        def leaf(_ctx: Context) -> str:
            return tenant.get()

        @resonate.register
        def flow(ctx: Context) -> Flow:
            return [tenant.get(), (yield ctx.lfc(leaf))]

        assert resonate.rpc("flow", flow).result() == ["nobody", "nobody"]
    tenant.set("nobody")
