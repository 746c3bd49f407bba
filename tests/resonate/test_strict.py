"""Strict calls: the same id again is the same call, or a conflict that names the recorded one."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from resonate_amqp import Conflict, Context, Embedded, Resonate, UsageError
from resonate_amqp.core.model import Promise, PromiseState
from resonate_amqp.core.requests import PromiseCreate, Response
from resonate_amqp.resonate.conflicts import conflict
from resonate_amqp.resonate.ledger import start_ledger
from resonate_amqp.settings import read
from resonate_amqp.wire.codec import encode_call

WAIT_S = 20


def order(_ctx: Context, item: str, count: int = 1) -> str:
    return f"{count} x {item}"


def refund(_ctx: Context, item: str) -> str:
    return f"refund of {item}"


def wait(ctx: Context) -> Generator[Any, Any, Any]:
    return (yield (yield ctx.promise()))


@pytest.fixture
def strict(resonate: Resonate) -> Resonate:
    """A view whose calls are strict, on functions that are registered."""
    for function in (order, refund, wait):
        resonate.register(function)
    return resonate.options(strict=True)


def test_the_same_call_again_is_the_same_execution(strict: Resonate) -> None:
    first = strict.rpc("o-1", "order", "book", count=2)
    assert first.result(WAIT_S) == "2 x book"
    assert strict.rpc("o-1", "order", "book", count=2).result(WAIT_S) == "2 x book"
    assert strict.run("o-1", "order", "book", count=2).result(WAIT_S) == "2 x book"


def test_the_order_of_keyword_arguments_does_not_matter(strict: Resonate) -> None:
    assert strict.rpc("o-1", "order", item="book", count=2).result(WAIT_S) == "2 x book"
    assert strict.rpc("o-1", "order", count=2, item="book").result(WAIT_S) == "2 x book"
    assert strict.run("o-1", "order", count=2, item="book").result(WAIT_S) == "2 x book"


def test_a_call_with_a_version_that_came_later_is_the_same_call(strict: Resonate) -> None:
    assert strict.rpc("o-1", "order", "book").result(WAIT_S) == "1 x book"
    strict.register(order, name="order", version=2)
    assert strict.rpc("o-1", "order", "book").result(WAIT_S) == "1 x book"


@pytest.mark.parametrize("kind", ["rpc", "run"])
def test_other_arguments_are_a_conflict_that_names_the_recorded_call(
    strict: Resonate, kind: str
) -> None:
    strict.rpc("o-1", "order", "book").result(WAIT_S)
    with pytest.raises(Conflict) as refused:
        getattr(strict, kind)("o-1", "order", "pen")
    assert str(refused.value) == (
        "id 'o-1' is taken by a call of 'order' with other arguments (recorded ('book'), now "
        "('pen'); first difference at args[0]: 'book', 'pen'); use an id of its own for each call"
    )


@pytest.mark.parametrize("kind", ["rpc", "run"])
def test_another_function_is_a_conflict_that_names_the_recorded_one(
    strict: Resonate, kind: str
) -> None:
    strict.rpc("o-1", "order", "book").result(WAIT_S)
    with pytest.raises(Conflict, match="'o-1' is taken by a call of 'order'; use an id"):
        getattr(strict, kind)("o-1", "refund", "book")


def test_awaited_calls_are_strict_as_well(strict: Resonate) -> None:
    async def ask() -> str:
        assert await (await strict.arpc("o-1", "order", "book")) == "1 x book"
        with pytest.raises(Conflict):
            await strict.arun("o-1", "order", "pen")
        return str(await (await strict.arun("o-1", "order", "book")))

    assert asyncio.run(ask()) == "1 x book"


def test_a_promise_of_another_kind_is_a_conflict(strict: Resonate) -> None:
    strict.promises.create("o-1", timeout=60)
    with pytest.raises(Conflict, match="taken by a promise that is no call"):
        strict.rpc("o-1", "order", "book")


def test_an_execution_that_is_running_is_found_and_not_only_a_finished_one(
    strict: Resonate,
) -> None:
    running = strict.run("w-1", "wait")
    again = strict.run("w-1", "wait")
    with pytest.raises(Conflict):
        strict.run("w-1", "order", "book")
    assert not running.done()
    strict.promises.resolve("w-1:1", "it is over")
    assert again.result(WAIT_S) == running.result(WAIT_S) == "it is over"


def test_a_refused_call_leaves_nothing_behind_that_waits(strict: Resonate) -> None:
    strict.run("w-1", "wait")
    node = strict._joined()
    before = len(node._waiting), len(node.session.listeners._listened)
    with pytest.raises(Conflict):
        strict.rpc("w-1", "order", "book")
    assert (len(node._waiting), len(node.session.listeners._listened)) == before


def test_without_it_the_same_id_is_the_execution_that_is_recorded(strict: Resonate) -> None:
    strict.rpc("o-1", "order", "book").result(WAIT_S)
    assert strict.options(strict=False).rpc("o-1", "refund", "pen").result(WAIT_S) == "1 x book"


def test_what_a_ledger_that_takes_no_notice_answers_is_compared_here() -> None:
    """One of the release before answers 200 with whatever it has."""
    create = PromiseCreate(
        id="o-1", timeout_at=5, param=encode_call("order", 1, ("pen",), {}), strict=True
    )
    param = encode_call("order", 1, ("book",), {})
    recorded = Promise(
        id="o-1", state=PromiseState.PENDING, param=param, tags={}, timeout_at=5, created_at=1
    )
    refused = conflict(create, Response(status=200, promise=recorded))
    assert "a call of 'order' with other arguments" in str(refused)


def test_a_schedule_and_a_call_that_is_sent_later_take_no_strict(strict: Resonate) -> None:
    with pytest.raises(UsageError, match="strict is for rpc and run"):
        strict.schedule("nightly", "0 0 * * *", "order", "book")
    with pytest.raises(UsageError, match="strict is for rpc and run"):
        strict._calls.create(_now(), "o-1", "order", ("book",), {})


def test_two_processes_that_race_for_an_id_have_one_winner(tmp_path: Path) -> None:
    with Embedded(f"sqlite:///{tmp_path / 'l.db'}") as system:
        one, other = (Resonate(system=system, group="g", request_timeout=5) for _ in range(2))
        one.register(order)
        one.start()
        other.options(strict=True, target="g").rpc("o-1", "order", "pen")
        with pytest.raises(Conflict):
            one.options(strict=True).rpc("o-1", "order", "book")
        one.stop()
        other.stop()


def test_strict_calls_over_rabbitmq(vhost_url: str, tmp_path: Path) -> None:
    ledger = start_ledger(read({"url": vhost_url, "ledger": f"sqlite:///{tmp_path / 'l.db'}"}))
    try:
        with Resonate(vhost_url, group="g", grace=1) as resonate:
            resonate.register(order)
            strict = resonate.options(strict=True)
            assert strict.rpc("o-1", order, "book").result(WAIT_S) == "1 x book"
            assert strict.run("o-1", order, "book").result(WAIT_S) == "1 x book"
            for call in (strict.rpc, strict.run):
                with pytest.raises(Conflict, match="a call of 'order' with other arguments"):
                    call("o-1", order, "pen")
    finally:
        ledger.stop()


def _now() -> int:
    return round(datetime.now(UTC).timestamp() * 1000)
