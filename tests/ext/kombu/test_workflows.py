"""Callbacks with a context: workflows whose message stays until they are settled or handed over."""

from __future__ import annotations

import threading
from collections.abc import Generator
from datetime import date
from typing import Any

import pytest
from kombu.exceptions import MessageStateError

from resonate_amqp import Context
from resonate_amqp.core.model import PromiseState
from resonate_amqp.errors import UsageError
from resonate_amqp.ext.kombu import RecordedMessage, durable
from tests.ext.kombu.shop import Shop, wait_until

Seen = list[Any]
Steps = Generator[Any, Any, Any]


def charge(ctx: Context, amount: int) -> str:
    return f"charged {amount}"


def test_a_workflow_calls_durably_and_its_message_goes_when_it_has_ended(shop: Shop) -> None:
    @durable(shop.resonate, id=lambda body, message: f"order-{body['id']}")
    def on_order(ctx: Context, body: Any, message: Any) -> Steps:
        receipt = yield ctx.lfc(charge, body["amount"])
        return [receipt, message.headers["shop"]]

    shop.consumer(on_order)
    shop.publish({"id": 7, "amount": 30}, None, headers={"shop": "north"})
    shop.drain()
    shop.await_settled()
    assert shop.resonate.get("order-7").result() == ["charged 30", "north"]
    assert (shop.intent("order-7"), shop.waiting()) == ("ack", 0)


def test_an_async_callback_and_one_without_steps_are_run_by_the_worker_too(shop: Shop) -> None:
    threads: Seen = []

    @durable(shop.resonate, name="async")
    async def awaits(ctx: Context, body: Any, message: Any) -> Any:
        return await ctx.lfc(charge, body)

    @durable(shop.resonate, name="leaf")
    def leaf(ctx: Context, body: Any, message: Any) -> int:
        threads.append(threading.current_thread())
        return 2 * int(body)

    shop.consumer(awaits, leaf)
    shop.publish(21)
    shop.drain()
    shop.await_settled()
    assert shop.resonate.get(shop.promise(func="async").id).result() == "charged 21"
    assert shop.resonate.get(shop.promise(func="leaf").id).result() == 42
    assert threads[0] is not threading.current_thread()


@pytest.mark.parametrize("how", ["reject", "raise"])
def test_a_workflow_that_rejects_or_raises_has_its_message_rejected(shop: Shop, how: str) -> None:
    @durable(shop.resonate)
    def on_order(ctx: Context, body: Any, message: Any) -> Steps:
        yield ctx.lfc(charge, 1)
        if how == "raise":
            raise LookupError("no such order")
        message.reject()
        with pytest.raises(MessageStateError):
            message.ack()

    shop.consumer(on_order)
    shop.publish({})
    shop.drain()
    shop.await_settled()
    wanted = PromiseState.REJECTED if how == "raise" else PromiseState.RESOLVED
    assert (shop.promise().state, shop.waiting(), shop.idle()) == (wanted, 0, True)


def test_a_workflow_that_requeues_its_message_has_no_outcome_and_keeps_its_steps(
    shop: Shop,
) -> None:
    charged: Seen = []
    runs: Seen = []

    def charging(ctx: Context) -> None:
        charged.append(ctx.id)

    @durable(shop.resonate)
    def on_order(ctx: Context, body: Any, message: Any) -> Steps:
        runs.append(message)
        yield ctx.lfc(charging)
        if len(runs) == 1:
            message.requeue()

    shop.consumer(on_order)
    shop.publish({})
    shop.drain()
    wait_until("it is back", lambda: shop.waiting() == 1)
    assert shop.promise().pending
    shop.drain()
    shop.await_settled()
    assert (shop.intent(), len(runs), charged) == ("ack", 2, [f"{shop.promise().id}:1"])


def test_a_parked_workflow_is_handed_over_and_goes_on_with_a_recorded_message() -> None:
    shop = Shop(park_after=0.05)
    messages: Seen = []

    @durable(shop.resonate)
    def on_order(ctx: Context, body: Any, message: Any) -> Steps:
        messages.append(message)
        answer = yield ctx.promise(id="approval")
        yield answer
        return [body, message.properties["message_id"], message.payload]

    try:
        shop.consumer(on_order)
        shop.publish({"day": date(2026, 1, 2)})
        shop.drain()
        shop.await_settled()
        assert (shop.promise().pending, shop.waiting()) == (True, 0)
        shop.publish({"day": date(2026, 1, 2)})
        shop.drain()
        shop.await_settled()
        shop.resonate.promises.resolve("approval", True)
        day = {"day": {"__type__": "date", "__value__": "2026-01-02"}}
        assert shop.result() == [day, "order-1", day]
    finally:
        shop.close()
    first, last = messages[0], messages[-1]
    assert not first.acknowledged
    assert type(last) is RecordedMessage
    assert last.body == {"day": date(2026, 1, 2)}
    last.ack()
    with pytest.raises(UsageError, match="came too late"):
        last.reject()
    with pytest.raises(UsageError, match=r"message\.requeue\(\) came too late"):
        last.requeue()
    with pytest.raises(UsageError, match="cannot be set"):
        last.body = None


def test_a_callback_begins_when_the_one_before_has_ended(shop: Shop) -> None:
    go = threading.Event()
    ran: Seen = []

    @durable(shop.resonate, name="first")
    def first(ctx: Context, body: Any, message: Any) -> None:
        ran.append("first")
        go.wait(10)
        message.reject()

    @durable(shop.resonate, name="second")
    def second(body: Any, message: Any) -> None:
        ran.append(("second", shop.promise(func="first").pending))
        message.ack()

    shop.consumer(first, second)
    shop.publish({})
    threading.Timer(0.2, go.set).start()
    shop.drain()
    shop.await_settled()
    assert ran == ["first", ("second", False)]
    assert (shop.intent(func="first"), shop.intent(func="second")) == ("reject", "ack")


def test_a_callback_waits_while_too_many_messages_are_in_hand() -> None:
    shop = Shop(prefetch=2)
    go = threading.Event()
    began: Seen = []

    @durable(shop.resonate)
    def on_order(ctx: Context, body: Any, message: Any) -> None:
        began.append(body)
        go.wait(10)

    try:
        shop.consumer(on_order)
        for number in range(3):
            shop.publish(number, f"order-{number}")
        shop.drain(2)
        third = threading.Thread(target=shop.drain)
        third.start()
        wait_until("two run", lambda: sorted(began) == [0, 1])
        third.join(0.2)
        assert (third.is_alive(), len(began)) == (True, 2)
        go.set()
        third.join(10)
        assert not third.is_alive()
        shop.await_settled()
    finally:
        go.set()
        shop.close()


def test_the_message_stays_while_its_promise_runs_for_another_message(shop: Shop) -> None:
    """Two messages with one id at once: one execution, and both go when it has ended."""
    go = threading.Event()
    ran: Seen = []

    @durable(shop.resonate)
    def on_order(ctx: Context, body: Any, message: Any) -> str:
        ran.append(body)
        go.wait(10)
        return "done"

    shop.consumer(on_order)
    shop.publish("an order")
    shop.publish("an order")
    shop.drain(2)
    wait_until("one runs", lambda: ran)
    assert shop.unsettled() == 2
    go.set()
    shop.await_settled()
    assert (ran, shop.result()) == (["an order"], "done")


def test_other_content_under_the_same_explicit_id_is_dead_lettered(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    @durable(shop.resonate, id=lambda body, message: "order-1", ignore_headers=["Sent"])
    def on_order(ctx: Context, body: Any, message: Any) -> int:
        return int(body)

    shop.consumer(on_order)
    same: list[dict[str, str]] = [{}, {"sent": "again"}, {"traceparent": "00-1-2-00"}]
    for headers in same:
        shop.publish(1, headers=headers)
        shop.drain()
        shop.await_settled()
    assert "dead-lettered" not in caplog.text
    others: list[tuple[int, dict[str, str]]] = [(2, {}), (1, {"retry": "2"})]
    for body, headers in others:
        caplog.clear()
        shop.publish(body, headers=headers)
        shop.drain()
        shop.await_settled()
        assert "taken by a message with other content" in caplog.text
    assert shop.result() == 1
    assert shop.promise().id == "order-1"


def test_without_strict_an_explicit_id_alone_says_what_one_execution_is(shop: Shop) -> None:
    ran: Seen = []

    @durable(shop.resonate, id=lambda body, message: "order-1", strict=False)
    def on_order(ctx: Context, body: Any, message: Any) -> None:
        ran.append(body)

    shop.consumer(on_order)
    for body in (1, 2):
        shop.publish(body)
        shop.drain()
        shop.await_settled()
    assert ran == [1]


def test_an_id_of_another_function_is_a_conflict_and_dead_lettered(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.resonate.register(charge)
    shop.resonate.run("order-1", "charge", 1).result()
    ran: Seen = []

    @durable(shop.resonate, id=lambda body, message: "order-1")
    def on_order(body: Any, message: Any) -> None:
        ran.append(body)

    shop.consumer(on_order)
    shop.publish({})
    shop.drain()
    shop.await_settled()
    assert (ran, shop.waiting()) == ([], 0)
    assert "is taken by a call of 'charge'" in caplog.text


def test_a_message_held_for_too_long_is_acknowledged_while_its_workflow_runs() -> None:
    shop = Shop(hold_max=0.2)
    go = threading.Event()

    @durable(shop.resonate)
    def on_order(ctx: Context, body: Any, message: Any) -> str:
        go.wait(10)
        return "done"

    try:
        shop.consumer(on_order)
        shop.publish({})
        shop.drain()
        shop.await_settled()
        assert shop.promise().pending
        go.set()
        assert shop.result() == "done"
    finally:
        go.set()
        shop.close()
