"""Workers that die at a step, and what a user's test sees of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from typing import Any

import pytest

from resonate_amqp import Context, Resonate, UsageError
from resonate_amqp.testing import System
from tests.testing.flows import DAYS, Shop

Flow = Generator[Any, Any, Any]
RESULT = ["paid book", "shipped book"]


@pytest.fixture
def shop(resonate_system: System) -> Shop:
    return Shop(resonate_system.resonate("orders"), resonate_system.resonate("carriers"))


def _result(shop: Shop, system: System) -> Any:
    handle = shop.call("order", "order", "book")
    system.advance(DAYS)
    return handle.result()


@pytest.mark.parametrize("step", ["charge", "order:1"])
def test_a_step_cut_off_before_it_is_recorded_runs_again(
    shop: Shop, resonate_system: System, step: str
) -> None:
    resonate_system.crash_at(step)
    assert _result(shop, resonate_system) == RESULT
    assert shop.ran == {"order:1": 2, "order:3": 1}
    assert resonate_system.crashes == ["order:1"]


@pytest.mark.parametrize("step", ["charge", "order:1"])
def test_a_recorded_step_does_not_run_again(shop: Shop, resonate_system: System, step: str) -> None:
    resonate_system.crash_at(step, when="after")
    assert _result(shop, resonate_system) == RESULT
    assert shop.ran == {"order:1": 1, "order:3": 1}
    assert resonate_system.crashes == ["order:1"]


@pytest.mark.parametrize(
    ("when", "ran"),
    [("before", {"order:1": 1, "order:3": 2}), ("after", {"order:1": 1, "order:3": 1})],
)
def test_the_worker_of_another_group_dies(
    shop: Shop, resonate_system: System, when: Any, ran: dict[str, int]
) -> None:
    resonate_system.crash_at("ship", when=when)
    assert _result(shop, resonate_system) == RESULT
    assert shop.ran == ran
    assert resonate_system.crashes == ["order:3"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_dies_at_the_end_of_a_workflow(
    shop: Shop, resonate_system: System, when: Any
) -> None:
    resonate_system.crash_at("order", when=when)
    assert _result(shop, resonate_system) == RESULT
    assert shop.ran == {"order:1": 1, "order:3": 1}
    assert resonate_system.crashes == ["order"]


def test_workers_die_as_often_as_they_are_told_to(shop: Shop, resonate_system: System) -> None:
    resonate_system.crash_at("charge", times=3)
    resonate_system.crash_at("ship", when="after")
    assert _result(shop, resonate_system) == RESULT
    assert shop.ran == {"order:1": 4, "order:3": 1}
    assert resonate_system.crashes == ["order:1"] * 3 + ["order:3"]


def test_an_async_leaf_is_cut_off_as_well(resonate: Resonate, resonate_system: System) -> None:
    ran: list[str] = []

    @resonate.register
    async def fetch(ctx: Context) -> str:
        await asyncio.sleep(0)
        ran.append(ctx.id)
        return "there"

    resonate_system.crash_at("fetch")
    assert resonate.rpc("fetch", "fetch").result() == "there"
    assert ran == ["fetch", "fetch"]


@pytest.mark.parametrize(("when", "ran"), [("before", 2), ("after", 1)])
def test_an_async_workflow_is_taken_over(
    resonate: Resonate, resonate_system: System, when: Any, ran: int
) -> None:
    charged: list[str] = []

    @resonate.register
    async def order(ctx: Context) -> int:
        await ctx.lfc(charge)
        await ctx.sleep(DAYS)
        return len(charged)

    def charge(ctx: Context) -> None:
        charged.append(ctx.id)

    resonate_system.crash_at("charge", when=when)
    handle = resonate.options(timeout=2 * DAYS).rpc("order", "order")
    resonate_system.advance(DAYS)
    assert handle.result() == ran
    assert resonate_system.crashes == ["order:1"]


def test_a_step_that_fails_is_a_step(resonate: Resonate, resonate_system: System) -> None:
    ran: list[str] = []

    @resonate.register
    def fails(ctx: Context) -> None:
        ran.append(ctx.id)
        raise ValueError("no")

    resonate_system.crash_at("fails")
    with pytest.raises(ValueError, match="no"):
        resonate.rpc("fails", "fails").result()
    assert ran == ["fails", "fails"]


def test_a_charge_without_an_idempotency_key_is_found(resonate_system: System) -> None:
    assert _charged_after_a_crash(resonate_system, idempotent=False) == 200


def test_a_charge_with_one_is_right(resonate_system: System) -> None:
    assert _charged_after_a_crash(resonate_system, idempotent=True) == 100


def _charged_after_a_crash(system: System, *, idempotent: bool) -> int:
    resonate = system.resonate()
    charges: dict[object, int] = {}

    @resonate.register
    def pay(ctx: Context, amount: int) -> Flow:
        yield ctx.lfc(charge, amount)

    def charge(ctx: Context, amount: int) -> None:
        charges[ctx.id if idempotent else object()] = amount

    system.crash_at("charge")
    resonate.rpc("pay", "pay", 100).result()
    return sum(charges.values())


def test_what_a_killed_worker_had_in_memory_is_gone_and_nothing_is_cleaned_up(
    resonate: Resonate, resonate_system: System
) -> None:
    cleaned: list[str] = []
    started: list[int] = []

    @resonate.register
    def tidy(ctx: Context) -> Flow:
        started.append(len(started))
        try:
            yield ctx.sleep(10)
            return len(started)
        finally:
            cleaned.append(f"run {len(started)}")

    handle = resonate.rpc("tidy", "tidy")
    resonate_system.advance(5)
    resonate_system.crash()
    resonate_system.advance(5)
    assert handle.result() == 2
    assert cleaned == ["run 2"]


def test_only_the_group_that_is_named_dies(shop: Shop, resonate_system: System) -> None:
    handle = shop.call("order", "order", "book")
    resonate_system.advance(1)
    resonate_system.crash("carriers")
    resonate_system.advance(DAYS)
    assert handle.result() == RESULT
    with pytest.raises(UsageError, match="'nobody' has no worker"):
        resonate_system.crash("nobody")


def test_a_parked_workflow_does_not_care(shop: Shop, resonate_system: System) -> None:
    handle = shop.call("order", "order", "book")
    for _ in range(3):
        resonate_system.advance(DAYS / 3)
        resonate_system.crash()
    resonate_system.advance()
    assert handle.result() == RESULT
    assert shop.ran == {"order:1": 1, "order:3": 1}


def test_what_was_run_in_the_process_is_taken_over_when_its_lease_ends(
    resonate: Resonate, resonate_system: System
) -> None:
    shop = Shop(resonate)
    resonate_system.crash_at("charge")
    handle = resonate.options(timeout=2 * DAYS).run("order", shop.order, "book")
    with pytest.raises(UsageError, match="its lease ends in 60 s"):
        handle.result()
    resonate_system.advance(60)
    assert shop.ran["order:1"] == 2
    resonate_system.advance(DAYS)
    assert handle.result() == RESULT


def test_a_leaf_of_a_killed_worker_goes_on_and_does_not_count(
    resonate: Resonate, resonate_system: System
) -> None:
    begun, again = threading.Event(), threading.Event()
    quick_ran: list[str] = []
    slow_began: list[str] = []
    slow_ended: list[str] = []

    @resonate.register
    def forks(ctx: Context) -> Flow:
        one = yield ctx.lfi(quick)
        other = yield ctx.lfi(slow)
        return [(yield one), (yield other)]

    def quick(ctx: Context) -> str:
        quick_ran.append(ctx.id)
        if len(quick_ran) == 2:
            again.set()
        begun.wait(10)
        return "quick"

    def slow(ctx: Context) -> str:
        slow_began.append(ctx.id)
        begun.set()
        life = "first" if len(slow_began) == 1 else "second"
        if life == "first":
            again.wait(10)
        slow_ended.append(life)
        return life

    resonate_system.crash_at("quick")
    assert resonate.rpc("forks", "forks").result() == ["quick", "second"]
    resonate_system.advance()
    assert sorted(slow_ended) == ["first", "second"]


def _greet_and_crash_elsewhere() -> None:
    with System() as system:
        resonate = system.resonate()

        @resonate.register
        def greet(_ctx: Context) -> str:
            return "hello"

        system.crash_at("chrage")
        assert resonate.rpc("greet", "greet").result() == "hello"


def test_a_crash_that_never_came_fails_the_test() -> None:
    missed = r"crash_at\('chrage', when='before'\).*called: greet"
    with pytest.raises(AssertionError, match=missed):
        _greet_and_crash_elsewhere()


def _fail_before_a_crash() -> None:
    with System() as system:
        system.crash_at("never")
        raise ZeroDivisionError


def test_another_failure_is_not_hidden_by_that() -> None:
    with pytest.raises(ZeroDivisionError):
        _fail_before_a_crash()


def test_a_moment_that_does_not_exist_is_refused(resonate_system: System) -> None:
    with pytest.raises(UsageError, match="before, after"):
        resonate_system.crash_at("charge", when="during")  # type: ignore[arg-type] # the point


def test_a_step_that_was_recorded_already_is_none_to_come(
    resonate: Resonate, resonate_system: System
) -> None:
    @resonate.register
    def step(_ctx: Context) -> int:
        return 1

    assert resonate.rpc("one", "step").result() == 1
    resonate_system.crash_at("step", when="after")
    assert resonate.rpc("one", "step").result() == 1
    assert resonate_system.crashes == []
    assert resonate.rpc("two", "step").result() == 1
    assert resonate_system.crashes == ["two"]
