"""Recorded histories, and today's code held against them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from resonate_amqp import Context, NonDeterminism, Resonate, UsageError
from resonate_amqp.testing import History, System, check_replay
from tests.testing.flows import DAYS, Shop

Flow = Generator[Any, Any, Any]


def charge(_ctx: Context, item: str) -> str:
    return f"paid {item}"


def ship(_ctx: Context, item: str) -> str:
    raise AssertionError("a leaf was run")


def check(_ctx: Context, item: str) -> bool:
    raise AssertionError("a leaf was run")


def _history(passed: timedelta) -> History:
    with System() as system:
        Shop(system.resonate()).call("order", "order", "book")
        system.advance(passed)
        return system.history("order")


@pytest.fixture
def running() -> History:
    """An order that was paid and waits."""
    return _history(timedelta(minutes=1))


@pytest.fixture
def finished() -> History:
    """An order that was shipped."""
    return _history(DAYS)


@pytest.fixture(params=[timedelta(minutes=1), DAYS], ids=["running", "finished"])
def either(request: pytest.FixtureRequest) -> History:
    return _history(request.param)


def as_it_was(ctx: Context, item: str) -> Flow:
    paid: str = yield ctx.lfc(charge, item)
    yield ctx.sleep(DAYS)
    sent: str = yield ctx.rfc(ship, item).options(target="default")
    return [paid, sent]


def with_another_duration(ctx: Context, item: str) -> Flow:
    paid: str = yield ctx.lfc(charge, item)
    yield ctx.sleep(2 * DAYS)
    return [paid, (yield ctx.rfc("ship", item))]


@pytest.mark.parametrize("code", [as_it_was, with_another_duration])
def test_code_that_asks_for_what_was_recorded_passes(code: Any, either: History) -> None:
    check_replay(code, either)


def test_the_resonate_it_is_registered_with_passes(either: History, resonate: Resonate) -> None:
    Shop(resonate)
    check_replay(resonate, either)


def with_a_call_before(ctx: Context, item: str) -> Flow:
    yield ctx.lfc(check, item)
    yield from as_it_was(ctx, item)


def with_another_call(ctx: Context, item: str) -> Flow:
    yield ctx.rfc("authorize", item).options(target="bank")
    yield from as_it_was(ctx, item)


def with_another_argument(ctx: Context, item: str) -> Flow:
    yield ctx.lfc(charge, item.upper())
    yield from as_it_was(ctx, item)


def without_the_sleep(ctx: Context, item: str) -> Flow:
    paid: str = yield ctx.lfc(charge, item)
    return [paid, (yield ctx.rfc(ship, item))]


def that_gives_up(ctx: Context, item: str) -> Flow:
    if item:
        raise ValueError(item)
    yield ctx.sleep(1)


def of_fewer_arguments(ctx: Context) -> Flow:
    yield ctx.lfc(charge, "book")


@pytest.mark.parametrize(
    ("code", "was", "now"),
    [
        (with_a_call_before, "a local call of 'charge'", "a local call of 'check'"),
        (with_another_call, "a local call of 'charge'", "'authorize' at poll://any@bank"),
        (with_another_argument, "a local call of 'charge'", "with other arguments"),
        (without_the_sleep, "recorded as a sleep", "a call of 'ship' at poll://any@default"),
        (that_gives_up, "a local call of 'charge'", "rejected (ValueError: book)"),
        (of_fewer_arguments, "a local call of 'charge'", "rejected (TypeError: "),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_code_that_asks_for_something_else_is_told_both(
    code: Callable[..., Any], was: str, now: str, either: History
) -> None:
    with pytest.raises(NonDeterminism, match="'order' is not deterministic") as raised:
        check_replay(code, either)
    assert was in str(raised.value)
    assert now in str(raised.value)


def with_a_call_behind(ctx: Context, item: str) -> Flow:
    yield from as_it_was(ctx, item)
    yield ctx.lfc(check, item)


def test_a_call_behind_the_record_is_for_running_workflows_only(
    running: History, finished: History
) -> None:
    check_replay(with_a_call_behind, running)
    with pytest.raises(NonDeterminism, match=r"complete without 'order:4'.*local call of 'check'"):
        check_replay(with_a_call_behind, finished)


def without_shipping(ctx: Context, item: str) -> Flow:
    yield ctx.lfc(charge, item)
    yield ctx.sleep(DAYS)


def test_a_call_that_is_missing_at_the_end_is_missed(running: History, finished: History) -> None:
    check_replay(without_shipping, running)
    with pytest.raises(NonDeterminism, match="'order:3' was recorded as a call of 'ship'"):
        check_replay(without_shipping, finished)


def that_fails_at_the_end(ctx: Context, item: str) -> Flow:
    yield from as_it_was(ctx, item)
    raise KeyError(item)


def that_waits_for_more(ctx: Context, item: str) -> Flow:
    promise = yield ctx.lfi(charge, item)
    yield ctx.sleep(DAYS)
    yield promise
    yield (yield ctx.rfi(ship, item))
    raise RuntimeError("unexpected")


def test_an_outcome_of_another_kind_is_told(finished: History) -> None:
    with pytest.raises(NonDeterminism, match=r"was resolved, and now is rejected \(KeyError"):
        check_replay(that_fails_at_the_end, finished)
    with pytest.raises(NonDeterminism, match="RuntimeError: unexpected"):
        check_replay(that_waits_for_more, finished)


def test_a_history_is_kept_in_a_file(either: History, tmp_path: Path) -> None:
    either.save(tmp_path / "order.json")
    loaded = History.load(tmp_path / "order.json")
    assert loaded.record() == either.record()
    check_replay(as_it_was, loaded)
    with pytest.raises(NonDeterminism):
        check_replay(with_a_call_before, loaded)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"history": 2}', '{"history": 1}'])
def test_another_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"other\.json"):
        History.load(tmp_path / "other.json")


def test_a_history_is_read_from_any_system() -> None:
    with Resonate() as resonate:
        Shop(resonate)

        @resonate.register
        def pays(ctx: Context) -> Flow:
            return (yield ctx.lfc(charge, "book"))

        assert resonate.rpc("pays", "pays").result(10) == "paid book"
        history = History.of(resonate, "pays")
        check_replay(resonate, history)
        assert [child.id for child in history.children] == ["pays:1"]
        with pytest.raises(UsageError, match="'nothing' does not exist"):
            History.of(resonate, "nothing")


def test_steps_of_local_workflows_belong_to_the_history(
    resonate: Resonate, resonate_system: System
) -> None:
    def inner(ctx: Context, item: str) -> Flow:
        paid = yield ctx.lfc(charge, item)
        yield ctx.sleep(10)
        return paid

    @resonate.register
    def outer(ctx: Context) -> Flow:
        yield ctx.lfc(inner, "book")
        yield ctx.detached("outer").options(target="nobody")
        return 1

    def changed(ctx: Context) -> Flow:
        yield ctx.lfc(inner_changed, "book")
        yield ctx.detached("outer").options(target="nobody")

    def inner_changed(ctx: Context, item: str) -> Flow:
        yield ctx.sleep(10)
        yield ctx.lfc(charge, item)

    inner_changed.__name__ = "inner"
    handle = resonate.rpc("outer", "outer")
    resonate_system.advance(5)
    early = resonate_system.history("outer")
    resonate_system.advance(5)
    assert handle.result() == 1
    assert [one.id for one in early.children] == ["outer:1", "outer:1.1", "outer:1.2"]
    check_replay(outer, early)
    check_replay(outer, resonate_system.history("outer"))
    with pytest.raises(NonDeterminism, match=r"'outer:1\.1'"):
        check_replay(changed, early)
    check_replay(changed, resonate_system.history("outer"))


def test_errors_are_replayed(resonate: Resonate, resonate_system: System) -> None:
    def fails(_ctx: Context) -> None:
        raise ValueError("no funds")

    @resonate.register
    def careful(ctx: Context) -> Flow:
        try:
            yield ctx.lfc(fails)
        except ValueError as error:
            yield ctx.lfc(charge, str(error))
        return 1

    def careless(ctx: Context) -> Flow:
        yield ctx.lfc(fails)

    assert resonate.rpc("careful", "careful").result() == 1
    history = resonate_system.history("careful")
    check_replay(careful, history)
    with pytest.raises(NonDeterminism, match=r"'careful:2'.*'charge'.*no funds"):
        check_replay(careless, history)


def test_the_recorded_version_is_the_one_that_is_checked(
    resonate: Resonate, resonate_system: System
) -> None:
    def one(ctx: Context) -> Flow:
        yield ctx.lfc(charge, "book")

    def two(ctx: Context) -> Flow:
        yield ctx.sleep(1)

    resonate.register(one, name="flow", version=1)
    resonate.rpc("flow", "flow").result()
    history = resonate_system.history("flow")
    resonate.register(two, name="flow", version=2)
    check_replay(resonate, history)
    empty = resonate_system.resonate("other")
    empty.register(two, name="flow", version=2)
    with pytest.raises(UsageError, match="'flow' version 1"):
        check_replay(empty, history)
    with pytest.raises(NonDeterminism, match="now asks for a sleep"):
        check_replay(two, history)


def test_dependencies_are_given(resonate: Resonate, resonate_system: System) -> None:
    resonate.set_dependency("item", "book")

    @resonate.register
    def flow(ctx: Context) -> Flow:
        yield ctx.lfc(charge, ctx.get_dependency("item"))

    resonate.rpc("flow", "flow").result()
    history = resonate_system.history("flow")
    check_replay(flow, history, dependencies={"item": "book"})
    with pytest.raises(NonDeterminism, match="other arguments"):
        check_replay(flow, history, dependencies={"item": "pen"})


def test_a_leaf_has_nothing_to_be_compared(
    resonate: Resonate, resonate_system: System, caplog: pytest.LogCaptureFixture
) -> None:
    resonate.register(charge)
    resonate.rpc("leaf", "charge", "book").result()
    with caplog.at_level(logging.WARNING):
        check_replay(ship, resonate_system.history("leaf"))
    assert caplog.records == []


def test_a_promise_that_does_not_exist_has_no_history(resonate_system: System) -> None:
    with pytest.raises(UsageError, match="'nothing' does not exist"):
        resonate_system.history("nothing")


def test_async_workflows_are_checked_as_well(resonate: Resonate, resonate_system: System) -> None:
    @resonate.register
    async def both(ctx: Context) -> list[Any]:
        await asyncio.sleep(0)
        one, other = await asyncio.gather(paid(ctx, "book"), paid(ctx, "pen"))
        await ctx.sleep(3600)
        return [one, other, await ctx.rfc(charge, "bag").options(target="default")]

    async def paid(ctx: Context, item: str) -> Any:
        return await ctx.lfc(charge, item)

    async def changed(ctx: Context) -> None:
        await ctx.lfc(check, "book")
        await asyncio.gather(paid(ctx, "book"), paid(ctx, "pen"))

    async def shortened(ctx: Context) -> None:
        await asyncio.gather(paid(ctx, "book"), paid(ctx, "pen"))

    resonate.register(charge)
    handle = resonate.rpc("both", "both")
    resonate_system.advance(60)
    early = resonate_system.history("both")
    resonate_system.advance(3600)
    assert handle.result() == ["paid book", "paid pen", "paid bag"]
    late = resonate_system.history("both")

    async def within_a_loop() -> None:
        check_replay(both, early)

    for history in (early, late):
        check_replay(both, history)
        check_replay(resonate, history)
        with pytest.raises(NonDeterminism, match="'check'"):
            check_replay(changed, history)
        with pytest.raises(NonDeterminism, match="a sleep"):
            check_replay(shortened, history)
    asyncio.run(within_a_loop())


def test_an_async_leaf_is_not_run(resonate: Resonate, resonate_system: System) -> None:
    @resonate.register
    async def leaf(_ctx: Context) -> int:
        return 1

    async def fails(_ctx: Context) -> None:
        raise AssertionError("a leaf was run")

    assert resonate.rpc("leaf", "leaf").result() == 1
    check_replay(fails, resonate_system.history("leaf"))
