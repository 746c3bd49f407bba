"""A promise whose id a body hands out exists before anybody can be told of it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from resonate_amqp.runtime.context import Context
from tests.core.world import settle
from tests.runtime.workshop import Workshop

Body = Generator[Any, Any, Any]


def test_a_leaf_after_a_promise_begins_only_when_the_promise_is_recorded() -> None:
    seen: list[bool] = []

    def mail(_ctx: Context, promise_id: str) -> None:
        seen.append(promise_id in workshop.ledger.promises)

    def asks(ctx: Context) -> Body:
        answer = yield ctx.promise()
        yield ctx.lfc(mail, answer.id)
        yield answer
        return "answered"

    workshop = Workshop(asks, mail)
    workshop.hire()
    workshop.call("asks")
    workshop.rest()
    assert seen == [True]
    workshop.ask(settle("r:1"))
    workshop.rest()
    assert workshop.result() == "answered"
    workshop.check()
