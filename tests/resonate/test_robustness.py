"""What users do wrong costs the one call, never the process."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Generator
from typing import Any

import pytest

from resonate_amqp import Context, RemoteError, Resonate, UsageError

Body = Generator[Any, Any, Any]
WAIT_S = 10


class Broken:
    """A retry policy that is none."""

    max_retries = 3

    def delay_s(self, attempt: int) -> float:
        return float("inf")


def wrong_timeout(ctx: Context) -> Body:
    yield ctx.rfc("x").options(target="y", timeout="5s")  # type: ignore[arg-type]  # the mistake


def wrong_target(ctx: Context) -> Body:
    yield ctx.rfc("x").options(target=5)  # type: ignore[arg-type]  # the mistake


def wrong_tags(ctx: Context) -> Body:
    yield ctx.rfc("x").options(target="y", tags=["a"])  # type: ignore[arg-type]  # the mistake


def wrong_promise(ctx: Context) -> Body:
    yield ctx.promise(timeout="soon")  # type: ignore[arg-type]  # the mistake


def wrong_error(_ctx: Context) -> None:
    raise RemoteError(5)  # type: ignore[arg-type]  # the mistake


def wrong_policy(ctx: Context) -> Body:
    yield ctx.lfc(wrong_error).options(retry_policy=Broken())


def exits(_ctx: Context) -> None:
    raise SystemExit(3)


@pytest.mark.parametrize(
    "body",
    [wrong_timeout, wrong_target, wrong_tags, wrong_promise, wrong_error, wrong_policy, exits],
)
def test_a_mistake_in_a_body_rejects_its_call_and_the_next_call_works(
    resonate: Resonate, body: Callable[..., Any]
) -> None:
    resonate.register(body)
    resonate.register(lambda _ctx: "well", name="next")
    with pytest.raises((RemoteError, TypeError, ValueError, UsageError)):
        resonate.rpc("wrong", body).result(WAIT_S)
    assert resonate.rpc("next", "next").result(WAIT_S) == "well"


def test_waiting_inside_a_workflow_is_refused_and_says_what_to_yield(resonate: Resonate) -> None:
    resonate.register(lambda _ctx: 1, name="one")

    @resonate.register
    def nested(ctx: Context) -> Body:
        try:
            resonate.rpc("inner", "one")
        except UsageError as error:
            return str(error)
        yield ctx.sleep(0)

    assert "yield ctx.rfc" in resonate.rpc("outer", nested).result(WAIT_S)


def test_a_telemetry_that_fails_stops_nothing() -> None:
    class Failing:
        def started(self, *_: object) -> None:
            raise OSError("full")

        finished = called = started

    resonate = Resonate(telemetry=Failing(), grace=1)
    resonate.register(lambda _ctx: 1, name="one")
    assert resonate.rpc("id", "one").result(WAIT_S) == 1
    resonate.stop()


def test_a_decorator_of_the_users_own_is_kept(resonate: Resonate) -> None:
    def doubled(func: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(func)
        def twice(*args: Any) -> int:
            return 2 * func(*args)

        return twice

    @resonate.register
    @doubled
    def three(_ctx: Context | None) -> int:
        return 3

    assert three(None) == 6
    assert resonate.rpc("id", three).result(WAIT_S) == 6


def test_waiting_for_a_handle_with_a_timeout_leaves_it_usable(resonate: Resonate) -> None:
    handle = resonate.options(target="nobody").rpc("p", "f")

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(handle, 0.01)

    asyncio.run(impatient())
    assert not handle.done()
    resonate.promises.resolve("p", 7)
    assert handle.result(WAIT_S) == 7


def test_a_second_call_of_an_id_waits_for_the_promises_own_deadline(resonate: Resonate) -> None:
    first = resonate.options(target="nobody", timeout=3_600).rpc("p", "f")
    second = resonate.options(target="nobody", timeout=1).rpc("p", "f")
    assert abs(first._left_ms - second._left_ms) < 60_000
