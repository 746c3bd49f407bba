"""What a function's error tells its caller, by whichever way the caller learns of it."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Generator
from typing import Any, NoReturn

import pytest

from resonate_amqp import Context, RemoteError, Resonate

WAIT_S = 10

Body = Generator[Any, Any, Any]


def fails(_ctx: Context) -> NoReturn:
    try:
        with open("/nowhere/prices.csv"):
            raise AssertionError
    except FileNotFoundError as error:
        error.add_note("while loading prices")
        raise ExceptionGroup("start", [error, ValueError("bad currency")]) from KeyError("shop 7")


def printed(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


TOLD = [
    "start (2 sub-exceptions)",
    "FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/prices.csv'",
    "while loading prices",
    "ValueError: bad currency",
    "KeyError: 'shop 7'",
    "in fails",
]


def by_result(resonate: Resonate) -> BaseException:
    with pytest.raises(ExceptionGroup) as caught:
        resonate.rpc("outside", "fails").result(WAIT_S)
    return caught.value


def by_await(resonate: Resonate) -> BaseException:
    async def waits() -> None:
        await (await resonate.arpc("awaited", "fails"))

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(waits())
    return caught.value


def in_a_body(resonate: Resonate, how: str) -> BaseException:
    caught: list[BaseException] = []

    def flow(ctx: Context) -> Body:
        call: Callable[[str], Any] = getattr(ctx, how)
        try:
            yield call("fails")
        except* ValueError as error:
            caught.append(error)
        except* OSError as error:
            caught.append(error)

    async def soon(ctx: Context) -> None:
        try:
            await getattr(ctx, how)("fails")
        except ExceptionGroup as error:
            caught.append(error)

    resonate.register(flow)
    resonate.register(soon)
    resonate.rpc(f"flow-{how}", "flow").result(WAIT_S)
    assert [type(one) for one in caught] == [ExceptionGroup, ExceptionGroup]
    resonate.rpc(f"soon-{how}", "soon").result(WAIT_S)
    return caught[2]


WAYS: dict[str, Callable[[Resonate], BaseException]] = {
    "result": by_result,
    "await": by_await,
    "rfc": lambda resonate: in_a_body(resonate, "rfc"),
    "lfc": lambda resonate: in_a_body(resonate, "lfc"),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_printed_of_an_error_its_caller_finds(resonate: Resonate, way: str) -> None:
    resonate.register(fails)
    error = WAYS[way](resonate)
    text = printed(error)
    assert [line for line in TOLD if line not in text] == []
    assert isinstance(error, ExceptionGroup)
    missing = error.exceptions[0]
    assert isinstance(missing, FileNotFoundError)
    assert (missing.errno, missing.filename) == (2, "/nowhere/prices.csv")


def test_an_error_that_passes_through_workflows_is_printed_once_for_each(
    resonate: Resonate,
) -> None:
    class Shop(Exception):
        pass

    @resonate.register
    def outer(ctx: Context, depth: int) -> Body:
        try:
            yield ctx.rfc("outer", depth - 1) if depth else ctx.rfc("fails")
        except Exception as error:
            raise Shop(f"at depth {depth}") from error

    resonate.register(fails)
    with pytest.raises(RemoteError) as caught:
        resonate.rpc("deep", "outer", 5).result(WAIT_S)
    text = printed(caught.value)
    assert text.count("Shop: at depth 0") <= 3
    places = [text.index(f"Shop: at depth {depth}") for depth in range(5)]
    assert places == sorted(places)
    assert text.index("in fails") < places[1]
    assert "KeyError: 'shop 7'" in text
    assert len(text) < 20_000
