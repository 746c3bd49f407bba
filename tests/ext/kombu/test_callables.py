"""Callbacks that are no plain functions, and messages that no name tells apart."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any

import pytest
from kombu import Connection, Consumer
from kombu.mixins import ConsumerMixin

from resonate_amqp import Context
from resonate_amqp.errors import UsageError
from resonate_amqp.ext.kombu import durable
from resonate_amqp.ext.kombu.desk import desk_of
from resonate_amqp.ext.kombu.forms import Kind, form_of
from tests.ext.kombu.shop import Shop, wait_until

Seen = list[Any]
Steps = Generator[Any, Any, Any]


class Counter:
    """A callback that is an object, with attributes of its own."""

    name = instance = hold_max = "the shop's own"

    def __init__(self, seen: Seen) -> None:
        self.form = "form"
        self.seen = seen

    def __call__(self, body: Any, message: Any) -> None:
        handle(self.seen, "object", body, message)


def handle(seen: Seen, name: str, body: Any, message: Any) -> None:
    seen.append((name, body))
    if not message.acknowledged:
        message.ack()


def test_partials_lambdas_and_objects_of_a_mixin_each_become_durable_under_a_name(
    shop: Shop,
) -> None:
    seen: Seen = []

    @durable(shop.resonate)
    class Worker(ConsumerMixin):
        connection = Connection("memory://")

        def get_consumers(self, Consumer: type[Consumer], channel: Any) -> list[Any]:
            callbacks = [
                functools.partial(handle, seen, "north"),
                functools.partial(handle, seen, "south"),
                functools.partial(self.method, "method"),
                lambda body, message: handle(seen, "lambda", body, message),
                Counter(seen),
            ]
            return [Consumer([shop.queue], callbacks=callbacks)]

        def method(self, name: str, body: Any, message: Any) -> None:
            handle(seen, name, body, message)

    worker = Worker()
    for number in (1, 1, 2):
        shop.publish(number, f"order-{number}")
        consuming = worker.consume(limit=1)
        next(consuming)
        consuming.close()
    each = ["north", "south", "method", "lambda", "object"]
    assert seen == [(name, number) for number in (1, 2) for name in each]
    assert [name.rpartition(".Worker.")[2] for name in shop.resonate.registry.names()] == [
        "Counter-1.5",
        "handle-1.1",
        "handle-1.2",
        "lambda-1.4",
        "method-1.3",
    ]


def test_a_callable_object_needs_a_name_and_keeps_its_attributes_to_itself(shop: Shop) -> None:
    seen: Seen = []
    with pytest.raises(UsageError, match=r"write durable\(resonate, name=…\)"):
        durable(shop.resonate)(Counter(seen))
    counting = durable(shop.resonate, name="counter")(Counter(seen))
    shop.consumer(counting)
    shop.publish(1)
    shop.drain()
    assert (seen, counting.name, shop.intent()) == ([("object", 1)], "counter", "ack")


def logged(func: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator as shops write it."""

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return wrapper


def hiding(func: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(body: Any, message: Any) -> Any:
        return func(body, message)

    return wrapper


def test_a_workflow_below_another_decorator_is_run_as_one(shop: Shop) -> None:
    @durable(shop.resonate, name="flow")
    @logged
    def flow(ctx: Context, body: Any, message: Any) -> Steps:
        return (yield ctx.lfc(lambda ctx: body * 2))

    shop.consumer(flow)
    shop.publish(21)
    shop.drain()
    shop.await_settled()
    assert shop.result() == 42


def test_a_decorator_that_hides_a_workflow_is_named_and_leaves_the_message(shop: Shop) -> None:
    @durable(shop.resonate, name="flow")
    @hiding
    def flow(body: Any, message: Any) -> Steps:
        yield body

    shop.consumer(flow)
    shop.publish(21)
    with pytest.raises(UsageError, match=r"'flow' answered a generator.*functools\.wraps"):
        shop.drain()
    assert (shop.unsettled(), shop.promise().pending) == (1, True)


@pytest.mark.parametrize(
    ("written", "context", "wanted"),
    [
        (lambda ctx, message: None, None, (Kind.LEAF, True, False)),
        (lambda ctx, message: None, False, (Kind.PLAIN, False, True)),
    ],
)
def test_a_body_may_be_called_ctx(written: Any, context: bool | None, wanted: Any) -> None:
    form = form_of(written, context)
    assert (form.kind, form.ctx, form.body) == wanted


def test_an_annotation_tells_that_ctx_is_the_body(shop: Shop) -> None:
    seen: Seen = []

    @durable(shop.resonate, name="render")
    def render(ctx: dict[str, Any], message: Any) -> None:
        seen.append(ctx)
        message.ack()

    shop.consumer(render)
    shop.publish({"page": 1})
    shop.drain()
    assert seen == [{"page": 1}]


def test_messages_without_a_name_run_as_often_as_they_are_delivered(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    ran: Seen = []

    @durable(shop.resonate, name="plain")
    def plain(body: Any, message: Any) -> None:
        ran.append(message)
        message.ack()

    shop.consumer(plain)
    for _ in range(2):
        shop.publish("the same", None, correlation_id="one")
        shop.drain()
    shop.redeliver(ran[0])
    shop.drain()
    assert (len(ran), shop.unsettled()) == (3, 0)
    told = [one.getMessage() for one in caplog.records if "without a message_id" in one.msg]
    assert len(told) == 1
    assert f"plain gets messages of queue '{shop.queue.name}'" in told[0]


def test_a_workflow_whose_message_has_no_name_is_handed_over_as_soon_as_it_is_recorded(
    shop: Shop,
) -> None:
    messages: Seen = []

    @durable(shop.resonate, name="flow")
    def flow(ctx: Context, body: Any, message: Any) -> Steps:
        messages.append(message)
        yield (yield ctx.promise(id="approval"))
        return body

    shop.consumer(flow)
    shop.publish("an order", None)
    shop.drain()
    shop.await_settled()
    wait_until("it runs", lambda: messages)
    assert type(messages[0]).__name__ == "RecordedMessage"
    execution = messages[0] and desk_of(shop.resonate)
    shop.resonate.promises.resolve("approval", True)
    wait_until("it has ended", lambda: not execution.errands)
