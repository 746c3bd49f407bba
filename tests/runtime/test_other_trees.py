"""Promises of other trees, as bodies call and await them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from resonate_amqp.core.model import PromiseState
from resonate_amqp.core.requests import PromiseSettle
from resonate_amqp.runtime.context import Context
from tests.core.world import external
from tests.runtime.workshop import DAY_MS, Workshop
from tests.server.desk import START

Body = Generator[Any, Any, Any]


def one(_ctx: Context) -> int:
    return 1


def awaits(ctx: Context, promise_id: str) -> Body:
    return (yield ctx.get(promise_id))


def calls_itself(ctx: Context) -> Body:
    try:
        return (yield ctx.rfc("one").options(id=ctx.id))
    except Exception as error:
        return str(error)


def calls_and_awaits(ctx: Context) -> Body:
    for _ in range(8):
        yield ctx.lfc(one)
    yield ctx.rfi("one").options(id="named")
    return (yield ctx.get("named"))


def calls_later(ctx: Context) -> Body:
    return (yield ctx.rfc("one").options(id="named", delay=1))


def opened(*functions: Any) -> Workshop:
    workshop = Workshop(one, *functions)
    workshop.hire()
    return workshop


def test_a_canceled_body_leaves_what_it_only_awaited() -> None:
    workshop = opened(awaits)
    workshop.ask(external("approval", START + DAY_MS))
    workshop.call("awaits", "approval")
    workshop.rest()
    workshop.ask(PromiseSettle(id="r", state=PromiseState.REJECTED_CANCELED))
    workshop.pass_time(1_000)
    assert workshop.promise("approval").pending


def test_what_is_awaited_is_not_created() -> None:
    """A promise that nobody called would be taken for the call by whoever calls it later."""
    workshop = opened(awaits)
    workshop.call("awaits", "nobody")
    workshop.rest()
    assert "nobody" not in workshop.ledger.promises
    assert workshop.promise().value.headers["error"].endswith("LedgerError")


def test_a_call_under_the_id_of_its_caller_is_refused() -> None:
    workshop = opened(calls_itself)
    workshop.call("calls_itself")
    workshop.rest()
    assert "cannot wait for it" in workshop.result()
    workshop.check()


def test_a_body_may_call_under_an_id_and_await_that_id() -> None:
    workshop = opened(calls_and_awaits)
    workshop.call("calls_and_awaits")
    workshop.rest()
    assert workshop.result() == 1
    workshop.check()


def test_a_call_under_an_id_of_its_own_may_be_delayed() -> None:
    workshop = opened(calls_later)
    workshop.call("calls_later")
    workshop.pass_time(500)
    assert workshop.promise().pending
    workshop.pass_time(1_000)
    assert workshop.result() == 1
    workshop.check()
