"""Dependencies: objects of the process, which are never recorded."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from resonate_amqp import Context, Resonate

WAIT_S = 10


def test_workflow_leaf_and_async_leaf_find_the_same_object(resonate: Resonate) -> None:
    database = object()
    resonate.set_dependency("database", database)
    found: list[Any] = []

    def leaf(ctx: Context) -> None:
        found.append(ctx.get_dependency("database"))

    async def soon(ctx: Context) -> None:
        found.append(ctx.get_dependency("database"))

    @resonate.register
    def flow(ctx: Context) -> Generator[Any, Any, None]:
        found.append(ctx.get_dependency("database"))
        yield ctx.lfc(leaf)
        yield ctx.lfc(soon)

    resonate.rpc("flow", flow).result(WAIT_S)
    assert len(found) >= 3
    assert all(one is database for one in found)


def test_a_missing_dependency_is_the_default(resonate: Resonate) -> None:
    @resonate.register
    def looks(ctx: Context) -> list[Any]:
        return [ctx.get_dependency("gone"), ctx.get_dependency("gone", 5)]

    assert resonate.rpc("looks", looks).result(WAIT_S) == [None, 5]


def test_a_dependency_set_after_the_start_is_found(resonate: Resonate) -> None:
    @resonate.register
    def looks(ctx: Context) -> Any:
        return ctx.get_dependency("late")

    assert resonate.rpc("before", looks).result(WAIT_S) is None
    resonate.options(timeout=5).set_dependency("late", 1)
    assert resonate.rpc("after", looks).result(WAIT_S) == 1


def test_every_instance_has_its_own(resonate: Resonate) -> None:
    Resonate(group="other").set_dependency("database", 1)

    @resonate.register
    def looks(ctx: Context) -> Any:
        return ctx.get_dependency("database")

    assert resonate.rpc("looks", looks).result(WAIT_S) is None
