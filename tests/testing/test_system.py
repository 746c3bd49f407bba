"""A system of a test: its time, its groups, and what waiting in it means."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from resonate_amqp import Constant, Context, Resonate, ResonateError, TimedOut, UsageError
from resonate_amqp.testing import System
from tests.testing.flows import DAYS, Shop

Flow = Generator[Any, Any, Any]


@pytest.fixture(params=[1, 2], ids=["one group", "two groups"])
def shop(request: pytest.FixtureRequest, resonate_system: System) -> Shop:
    carriers = resonate_system.resonate("carriers") if request.param == 2 else None
    return Shop(resonate_system.resonate("orders"), carriers)


def test_three_days_of_sleep_pass_when_they_are_told_to(
    shop: Shop, resonate_system: System
) -> None:
    began = time.monotonic()
    handle = shop.call("order", "order", "book")
    resonate_system.advance(DAYS - timedelta(milliseconds=1))
    assert not handle.done()
    resonate_system.advance(0.001)
    assert handle.done()
    assert handle.result() == ["paid book", "shipped book"]
    assert time.monotonic() - began < 5
    assert shop.ran == {"order:1": 1, "order:3": 1}


def test_the_clock_stands_still_until_it_is_moved() -> None:
    with System(start=datetime(2030, 1, 31, 12, tzinfo=UTC)) as system:
        time.sleep(0.01)
        assert system.now == datetime(2030, 1, 31, 12, tzinfo=UTC)
        system.advance(timedelta(hours=12))
        assert system.now == datetime(2030, 2, 1, tzinfo=UTC)


def test_sleeps_in_a_row_end_at_their_own_instants(
    resonate: Resonate, resonate_system: System
) -> None:
    woken: list[datetime] = []

    @resonate.register
    def naps(ctx: Context) -> Flow:
        for _ in range(4):
            yield ctx.sleep(3600)
            yield ctx.lfc(wake)

    def wake(_ctx: Context) -> None:
        woken.append(resonate_system.now)

    begin = resonate_system.now
    handle = resonate.rpc("naps", "naps")
    resonate_system.advance(timedelta(hours=10))
    assert handle.done()
    assert woken == [begin + timedelta(hours=hour) for hour in (1, 2, 3, 4)]


def test_the_attempts_of_a_leaf_are_made_as_time_passes(
    resonate: Resonate, resonate_system: System
) -> None:
    attempts: list[int] = []

    @resonate.register(retry_policy=Constant(delay=60, max_retries=3))
    def flaky(ctx: Context) -> str:
        attempts.append(ctx.info.attempt)
        if len(attempts) < 3:
            raise OSError("not yet")
        return "there"

    handle = resonate.rpc("flaky", "flaky")
    resonate_system.advance(59)
    assert attempts == [1]
    resonate_system.advance(1)
    assert attempts == [1, 2]
    resonate_system.advance(60)
    assert handle.result() == "there"


def test_a_deadline_passes(resonate: Resonate, resonate_system: System) -> None:
    @resonate.register
    def waits(ctx: Context) -> Flow:
        yield (yield ctx.promise())

    handle = resonate.options(timeout=timedelta(hours=1)).rpc("waits", "waits")
    resonate_system.advance(3599)
    assert not handle.done()
    resonate_system.advance(1)
    with pytest.raises(TimedOut):
        handle.result()


def test_somebody_decides_after_a_week(resonate: Resonate, resonate_system: System) -> None:
    @resonate.register
    def asks(ctx: Context) -> Flow:
        return (yield (yield ctx.promise(timeout=timedelta(days=30))))

    handle = resonate.options(timeout=timedelta(days=30)).rpc("asks", "asks")
    resonate_system.advance(timedelta(days=7))
    resonate.promises.resolve("asks:1", "yes")
    assert handle.result() == "yes"


def test_waiting_on_a_clock_that_stands_still_tells_what_is_waited_for(shop: Shop) -> None:
    handle = shop.call("order", "order", "book")
    began = time.monotonic()
    with pytest.raises(UsageError, match=r"order:2 \(a sleep, for another 259200 s\)"):
        handle.result()
    with pytest.raises(TimeoutError, match="within 30 s"):
        handle.result(30)
    assert time.monotonic() - began < 5
    assert not handle.done()


def test_handles_are_awaited(shop: Shop, resonate_system: System) -> None:
    async def main() -> Any:
        handles = [shop.call(f"order-{n}", "order", "book") for n in range(3)]
        waiting = asyncio.gather(*handles)
        await asyncio.to_thread(resonate_system.advance, DAYS)
        return await waiting

    assert asyncio.run(main()) == [["paid book", "shipped book"]] * 3


def test_async_leaves_and_leaves_that_wait_for_calls_of_their_own(
    resonate: Resonate, resonate_system: System
) -> None:
    @resonate.register
    async def doubled(_ctx: Context, n: int) -> int:
        await asyncio.sleep(0)
        return 2 * n

    @resonate.register
    def later(ctx: Context, n: int) -> Flow:
        yield ctx.sleep(timedelta(hours=3))
        return (yield ctx.rfc("doubled", n))

    @resonate.register
    def waits(_ctx: Context) -> Any:
        return resonate.rpc("inner", "later", 21).result()

    handle = resonate.rpc("outer", "waits")
    resonate_system.advance(timedelta(hours=3))
    assert handle.result() == 42


def test_what_is_registered_late_is_served(resonate: Resonate, resonate_system: System) -> None:
    handle = resonate.options(target="default").rpc("late", "late")
    resonate_system.advance()

    @resonate.register
    def late(_ctx: Context) -> int:
        return 1

    resonate_system.advance(1)
    assert handle.result() == 1


def test_run_is_run_in_this_process(resonate: Resonate, resonate_system: System) -> None:
    shop = Shop(resonate)
    handle = resonate.options(timeout=2 * DAYS).run("order", shop.order, "book")
    resonate_system.advance(DAYS)
    assert handle.result() == ["paid book", "shipped book"]


def test_a_program_s_own_instance_lives_in_the_system_and_leaves_it_again() -> None:
    program = Resonate("amqp://nobody.invalid", group="orders", request_timeout=1)
    shop = Shop(program)
    for _ in range(2):
        with System() as system:
            system.host(program)
            handle = program.options(timeout=2 * DAYS).rpc("order", "order", "book")
            system.advance(DAYS)
            assert handle.result() == ["paid book", "shipped book"]
            assert shop.order.run("other", "book").id == "other"
    assert shop.ran["order:1"] == 2
    program.stop()


def test_a_leaf_that_keeps_the_system_busy_is_named() -> None:
    hang = threading.Event()
    with System(patience=0.2) as system:
        resonate = system.resonate()

        @resonate.register
        def hangs(_ctx: Context) -> None:
            hang.wait()

        handle = resonate.rpc("stuck", "hangs")
        with pytest.raises(ResonateError, match="hangs"):
            system.advance()
        with pytest.raises(ResonateError, match="hangs"):
            handle.result()
        with pytest.raises(TimeoutError):
            handle.result(0.01)
        hang.set()
        assert handle.result() is None


def test_a_closed_system_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())
    with System() as system:
        resonate = system.resonate()
        Shop(resonate)
        resonate.start()
        resonate.rpc("order", "order", "book")
        system.advance()
    until = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < until:
        time.sleep(0.01)
    assert set(threading.enumerate()) - before == set()


def test_a_month_of_waiting_takes_moments(resonate: Resonate, resonate_system: System) -> None:
    @resonate.register
    def waits(ctx: Context) -> Flow:
        yield ctx.sleep(timedelta(days=30))

    handles = [resonate.options(timeout=timedelta(days=60)).rpc(f"w{n}", "waits") for n in range(3)]
    began = time.monotonic()
    resonate_system.advance(timedelta(days=30))
    assert all(handle.done() for handle in handles)
    assert time.monotonic() - began < 20
