"""Forms: functions, methods, `on_message` and whole mixins become durable, and stay callable."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Generator
from functools import partial
from typing import Any

import pytest
from kombu import Connection, Consumer
from kombu.message import Message
from kombu.mixins import ConsumerMixin

from resonate_amqp import Context, Resonate
from resonate_amqp.errors import UsageError
from resonate_amqp.ext.kombu import durable
from resonate_amqp.ext.kombu.forms import Kind, form_of
from tests.ext.kombu.shop import Shop, wait_until

Seen = list[Any]
Steps = Generator[Any, Any, Any]

resonate = Resonate(group="forms")


@durable(resonate)
def module_level(body: Any, message: Message) -> None:
    """What it does."""


class Written:
    """Callbacks as people write them."""

    def method(self, body: Any, message: Any) -> None: ...
    def waits(self, ctx: Any, body: Any, message: Any) -> Steps:
        yield ctx

    def on_message(self, message: Any) -> None: ...
    async def annotated(this, context: Context, message: Any) -> None: ...
    @staticmethod
    def static(body: Any, message: Any) -> None: ...
    def optional(self, body: Any, message: Any, retries: int = 3) -> None: ...


def anything(*args: Any) -> None: ...
def no_context(body: Any, message: Any) -> Steps:
    yield 1


@pytest.mark.parametrize(
    ("func", "wanted"),
    [
        (Written.method, (Kind.PLAIN, True, False, True)),
        (Written.waits, (Kind.GENERATOR, True, True, True)),
        (Written.on_message, (Kind.PLAIN, True, False, False)),
        (Written.annotated, (Kind.COROUTINE, True, True, False)),
        (Written.static, (Kind.PLAIN, False, False, True)),
        (Written.optional, (Kind.PLAIN, True, False, True)),
        (anything, (Kind.PLAIN, False, False, True)),
        (no_context, (Kind.GENERATOR, False, False, True)),
        (lambda ctx, message: None, (Kind.LEAF, False, True, False)),
        (partial(lambda shop, body, message: None, "north"), (Kind.PLAIN, False, False, True)),
    ],
)
def test_a_callback_is_recognised_by_how_it_is_written(func: Any, wanted: Any) -> None:
    form = form_of(func)
    assert (form.kind, form.method, form.ctx, form.body) == wanted


@pytest.mark.parametrize("func", [lambda: None, lambda a, b, c: None])
def test_what_kombu_could_not_call_is_refused(func: Any) -> None:
    with pytest.raises(UsageError, match=r"takes \(body, message\) or \(message\)"):
        durable(resonate, name="odd")(func)


def test_what_has_no_name_asks_for_one() -> None:
    with pytest.raises(UsageError, match=r"write durable\(resonate, name=…\)"):
        durable(resonate)(lambda body, message: None)


def test_a_durable_callback_keeps_what_the_function_tells_of_itself() -> None:
    assert module_level.__doc__ == "What it does."
    assert module_level.__name__ == "module_level"
    assert list(inspect.signature(module_level).parameters) == ["body", "message"]
    assert pickle.loads(pickle.dumps(module_level)) is module_level


def test_a_function_is_registered_under_its_qualified_name() -> None:
    registered = Resonate(group="names")

    class Worker:
        @durable(registered)
        def on_order(self, body: Any, message: Any) -> None: ...

        @durable(registered, name="named", version=2)
        def other(self, body: Any, message: Any) -> None: ...

    owner = "test_a_function_is_registered_under_its_qualified_name.Worker"
    assert registered.registry.names() == ["named", f"{owner}.on_order"]


def test_on_message_decodes_as_its_consumer_would(shop: Shop) -> None:
    seen: Seen = []

    @durable(shop.resonate, id=lambda message: message.payload["id"])
    def on_message(ctx: Context, message: Any) -> None:
        seen.append((message.body, message.payload, message.decode()))

    @durable(shop.resonate, name="raw")
    def raw(message: Any) -> None:
        seen.append((message.body, message.payload))
        message.ack()

    consumer = shop.consumer(on_message=on_message, accept=["json"])
    shop.publish({"id": 5}, None)
    shop.drain()
    shop.await_settled()
    assert seen == [(b'{"id": 5}', {"id": 5}, {"id": 5})]
    assert shop.resonate.get("5").result() is None
    consumer.on_message = raw
    shop.publish({"id": 6}, "six")
    shop.drain()
    assert seen[1:] == [(b'{"id": 6}', {"id": 6})]


class Stopping(ConsumerMixin):
    """A mixin that stops after its callbacks have seen one message."""

    def __init__(self, shop: Shop) -> None:
        self.connection = Connection("memory://")
        self.shop = shop
        self.seen: Seen = []

    def take(self) -> None:
        """Consume one message, until both callbacks have seen it."""
        wanted = len(self.seen) + 2
        consuming = self.consume(limit=None)
        next(consuming)
        wait_until("both callbacks have run", lambda: len(self.seen) == wanted)
        consuming.close()


def test_every_callback_of_a_mixin_becomes_durable_at_each_connection(shop: Shop) -> None:
    @durable(shop.resonate)
    class Worker(Stopping):
        def get_consumers(self, Consumer: type[Consumer], channel: Any) -> list[Any]:
            return [
                Consumer([shop.queue], callbacks=[self.on_order, self.note]),
                Consumer([shop.queue], on_message=self.on_message),
            ][:1]

        def on_order(self, body: Any, message: Any) -> None:
            message.ack()
            self.seen.append(("order", body))

        def on_message(self, message: Any) -> None: ...

        def note(self, ctx: Context, body: Any, message: Any) -> Steps:
            yield ctx.lfc(lambda ctx: None)
            self.seen.append(("note", body))

    worker = Worker(shop)
    for number in range(2):
        shop.publish(number, f"order-{number}")
        worker.take()
    assert sorted(worker.seen) == [("note", 0), ("note", 1), ("order", 0), ("order", 1)]
    assert [name.rpartition(".")[2] for name in shop.resonate.registry.names()] == [
        "note",
        "on_order",
    ]


def test_a_class_has_no_one_name() -> None:
    with pytest.raises(UsageError, match="may have several callbacks"):
        durable(resonate, name="worker")(Stopping)


def test_handed_over_work_of_a_method_goes_on_with_the_instance_that_consumes_now() -> None:
    shop = Shop(park_after=0.05)
    selves: Seen = []

    class Worker:
        @durable(shop.resonate, name="on_order")
        def on_order(self, ctx: Context, body: Any, message: Any) -> Steps:
            selves.append(self)
            yield (yield ctx.promise(id="approval"))

    try:
        first, second = Worker(), Worker()
        shop.consumer(first.on_order)
        shop.publish({})
        shop.drain()
        shop.await_settled()
        assert second.on_order is not None
        shop.resonate.promises.resolve("approval")
        shop.result()
        assert selves == [first, second]
    finally:
        shop.close()


def test_handed_over_work_waits_until_an_instance_consumes() -> None:
    shop = Shop(park_after=0.05)

    class Worker:
        @durable(shop.resonate, name="on_order")
        def on_order(self, ctx: Context, body: Any, message: Any) -> Steps:
            return (yield (yield ctx.promise(id="approval")))

    try:
        worker = Worker()
        consumer = shop.consumer(worker.on_order)
        shop.publish({})
        shop.drain()
        shop.await_settled()
        consumer.callbacks = []
        del worker
        shop.resonate.promises.resolve("approval", "yes")
        waits = shop.resonate.get(shop.promise().id)
        with pytest.raises(TimeoutError):
            waits.result(0.5)
        again = Worker()
        assert again.on_order is not None
        assert waits.result(10) == "yes"
    finally:
        shop.close()
