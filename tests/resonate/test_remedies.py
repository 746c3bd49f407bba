"""Errors that users meet early say what is wrong where they are, and what to do."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Generator
from datetime import date
from typing import Any

import pytest

from resonate_amqp import Context, Encoding, RemoteError, Resonate
from resonate_amqp.errors import Conflict

WAIT_S = 20

Body = Generator[Any, Any, Any]


def test_a_local_class_in_an_annotation_is_named_as_what_is_wrong(resonate: Resonate) -> None:
    @dataclasses.dataclass
    class Order:
        due: int

    @resonate.register
    def ship(_ctx: Context, order: Order) -> None:
        return None

    with pytest.raises(Encoding) as refused:
        resonate.rpc("ship", ship, Order(1))
    assert refused.value.path == "args[0]"
    assert "annotation Order cannot rebuild it: name 'Order' is not defined" in str(refused.value)
    assert "Define it at the top level of its module" in str(refused.value)
    assert "annotate" not in str(refused.value)
    assert resonate.rpc("plain", ship, {"due": 1}).result(WAIT_S) is None


def test_a_local_class_as_a_result_is_named_too(resonate: Resonate) -> None:
    @dataclasses.dataclass
    class Order:
        due: int

    build = Order

    @resonate.register
    def made(_ctx: Context) -> Order:
        return build(1)

    @resonate.register
    def flow(ctx: Context) -> Generator[Any, Any, Order]:
        yield ctx.sleep(0)
        return build(1)

    for function in (made, flow):
        with pytest.raises(RemoteError, match=r"name 'Order' is not defined.*top level"):
            resonate.rpc(f"{function.name}-1", function).result(WAIT_S)


def test_a_class_whose_own_annotations_mean_nothing_is_named(resonate: Resonate) -> None:
    @dataclasses.dataclass
    class Parcel:
        weight: Weight  # type: ignore[name-defined]  # noqa: F821  # on purpose
        due: date

    def ship(_ctx: Context, parcel: Any) -> None:
        return None

    ship.__annotations__["parcel"] = Parcel
    resonate.register(ship)
    with pytest.raises(Encoding, match=r"name 'Weight' is not defined.*top level"):
        resonate.rpc("ship", ship, Parcel(1, date(2026, 1, 2)))


def hiding(func: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator as many are written."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    wrapper.__name__ = func.__name__
    return wrapper


def passing(func: Callable[..., Any]) -> Callable[..., Any]:
    """The same, as the error advises."""

    def wrapper(*args: Any, **kwargs: Any) -> Body:
        return (yield from func(*args, **kwargs))

    wrapper.__name__ = func.__name__
    return wrapper


def test_a_decorator_that_hides_a_workflow_is_named_as_what_is_wrong(resonate: Resonate) -> None:
    def flow(ctx: Context) -> Body:
        yield ctx.sleep(0)
        return "done"

    async def soon(ctx: Context) -> str:
        await ctx.sleep(0)
        return "done"

    for function, kind in ((flow, "generator"), (soon, "coroutine")):
        resonate.register(hiding(function))
        with pytest.raises(RemoteError) as caught:
            resonate.rpc(function.__name__, function.__name__).result(WAIT_S)
        assert caught.value.type_name.endswith("NotDurable")
        assert f"returned the {kind} " in caught.value.message
        assert "a decorator hides what its function is" in caught.value.message
    resonate.register(passing(flow), name="passed")
    assert resonate.rpc("passed", "passed").result(WAIT_S) == "done"


def test_a_step_that_a_decorator_hides_is_told_alike(resonate: Resonate) -> None:
    def step(_ctx: Context) -> Body:
        yield

    def flow(ctx: Context) -> Body:
        return (yield ctx.lfc(hiding(step)))

    resonate.register(flow)
    with pytest.raises(RemoteError, match="a decorator hides what its function is"):
        resonate.rpc("flow", "flow").result(WAIT_S)


def test_the_log_tells_the_version_of_the_function(
    resonate: Resonate, caplog: pytest.LogCaptureFixture
) -> None:
    @resonate.register(version=3)
    def quarterly(ctx: Context) -> Body:
        yield ctx.sleep(0)

    with caplog.at_level(logging.INFO, "resonate_amqp.functions"):
        resonate.rpc("q-1", quarterly).result(WAIT_S)
    assert "q-1 started quarterly (function version 3)" in caplog.messages
    started = [one for one in caplog.records if "started" in one.getMessage()]
    assert [vars(one)["version"] for one in started] == [3]


def test_a_recursion_whose_ids_grow_too_long_names_a_remedy(resonate: Resonate) -> None:
    @resonate.register
    def down(ctx: Context, depth: int, own: bool) -> Body:
        if not depth:
            return 0
        call = ctx.rfc("down", depth - 1, own)
        if own and depth % 50 == 0:
            call.options(id=f"down-from-{depth}")
        return 1 + (yield call)

    with pytest.raises(RemoteError, match=r"at most 255 .*\.options\(id=…\)"):
        resonate.rpc("deep", "down", 140, False).result(WAIT_S)
    assert resonate.rpc("cut", "down", 140, True).result(WAIT_S) == 140


def test_an_id_that_is_too_long_names_a_remedy(resonate: Resonate) -> None:
    resonate.register(hiding, name="any")
    with pytest.raises(Exception, match="at most 200 are kept; use a shorter one"):
        resonate.rpc("x" * 201, "any")


def test_a_conflict_of_large_arguments_stays_readable(resonate: Resonate) -> None:
    @resonate.register
    def take(_ctx: Context, order: dict[str, Any]) -> None:
        return None

    strict = resonate.options(strict=True)
    lines = [{"sku": f"sku-{n}", "qty": 1} for n in range(3_000)]
    strict.rpc("o-1", take, {"lines": lines}).result(WAIT_S)
    with pytest.raises(Conflict) as refused:
        strict.rpc("o-1", take, {"lines": [*lines[:-1], {"sku": "sku-2999", "qty": 2}]})
    assert "first difference at args[0].lines[2999].qty: 1, 2" in str(refused.value)
    assert len(str(refused.value)) < 1_000
