"""Hard use: what consumers of many years do with their callbacks, their threads and their exits."""

from __future__ import annotations

import functools
import socket
import threading
from collections.abc import Generator
from typing import Any

import pytest
from kombu import Connection, Consumer, Queue
from kombu.mixins import ConsumerMixin
from kombu.utils.limits import TokenBucket

from resonate_amqp import Context, Resonate
from resonate_amqp.ext.kombu import durable
from resonate_amqp.ext.kombu.desk import desk_of
from resonate_amqp.resonate.embedded import Embedded
from tests.ext.kombu.shop import Shop, wait_until

Seen = list[Any]


def test_a_durable_callback_that_calls_another_with_its_message_runs_it_as_its_own(
    shop: Shop,
) -> None:
    ran: Seen = []

    class Base:
        @durable(shop.resonate, name="base")
        def on_order(self, body: Any, message: Any) -> str:
            ran.append(self)
            message.ack()
            return "charged"

    class Special(Base):
        @durable(shop.resonate, name="special")
        def on_order(self, body: Any, message: Any) -> Any:
            return super().on_order(body, message)

    worker = Special()
    shop.consumer(worker.on_order)
    shop.publish({})
    shop.drain()
    assert (ran, shop.intent(), shop.unsettled()) == ([worker], "ack", 0)
    assert shop.result() == "charged"


def test_a_workflow_calls_a_durable_callback_with_its_message_as_its_own(shop: Shop) -> None:
    @durable(shop.resonate, name="inner")
    def inner(body: Any, message: Any) -> None:
        message.reject()

    @durable(shop.resonate, name="outer")
    def outer(ctx: Context, body: Any, message: Any) -> None:
        inner(body, message)

    shop.consumer(outer)
    shop.publish({})
    shop.drain()
    shop.await_settled()
    assert shop.intent() == "reject"


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_an_exit_in_a_callback_ends_its_claim_and_leaves_the_message(
    shop: Shop, error: type[BaseException]
) -> None:
    ran: Seen = []

    @durable(shop.resonate)
    def on_order(body: Any, message: Any) -> None:
        ran.append(message)
        if len(ran) == 1:
            raise error
        message.ack()

    shop.consumer(on_order)
    shop.publish({})
    with pytest.raises(error):
        shop.drain()
    desk = desk_of(shop.resonate)
    wait_until("the claim is over", lambda: not desk.errands)
    assert (shop.promise().pending, shop.unsettled(), desk.live) == (True, 1, {})
    ran[0].requeue()
    shop.drain()
    assert (len(ran), shop.intent(), shop.unsettled()) == (2, "ack", 0)


def test_a_late_acknowledgement_is_recorded_though_the_lease_was_lost_before(shop: Shop) -> None:
    handed: Seen = []

    @durable(shop.resonate)
    def on_order(body: Any, message: Any) -> int:
        handed.append(message)
        return 7

    shop.consumer(on_order)
    shop.publish({})
    shop.drain()
    shop.resonate.tasks.halt(shop.promise().id, "an operator takes it away")
    wait_until("the body has left", lambda: not shop.resonate._joined()._worker.busy())
    shop.resonate.tasks.resume(shop.promise().id)
    threading.Thread(target=handed[0].ack).start()
    shop.await_settled()
    assert (len(handed), shop.intent()) == (1, "ack")
    assert shop.result() == 7


def test_a_repetition_of_what_waits_for_its_acknowledgement_holds_up_no_consumer(
    shop: Shop,
) -> None:
    batch: Seen = []

    @durable(shop.resonate)
    def on_order(body: Any, message: Any) -> None:
        batch.append(message)
        if len(batch) == 2:
            for one in batch:
                one.ack()

    shop.consumer(on_order)
    for name in ("first", "first", "second"):
        shop.publish({}, name)
    consumer = threading.Thread(target=shop.drain, args=(3,), daemon=True)
    consumer.start()
    consumer.join(5)
    assert not consumer.is_alive()
    wait_until("both have an outcome", lambda: not desk_of(shop.resonate).errands)
    assert (len(batch), shop.intent("first"), shop.unsettled()) == (2, "ack", 0)


def test_a_mixin_stops_while_its_callback_waits_for_the_turn_of_its_id(shop: Shop) -> None:
    ran: Seen = []
    began, go_on = threading.Event(), threading.Event()

    class Worker:
        should_stop = False

        @durable(shop.resonate, name="on_order")
        def on_order(self, body: Any, message: Any) -> None:
            ran.append(body)
            began.set()
            assert go_on.wait(10)
            message.ack()

    first, second = Worker(), Worker()
    other = Shop()
    shop.consumer(first.on_order)
    shop.publish(1)
    other.consumer(second.on_order)
    other.publish(1)
    consumers = [threading.Thread(target=each.drain, daemon=True) for each in (shop, other)]
    consumers[0].start()
    assert began.wait(10)
    consumers[1].start()
    second.should_stop = True
    consumers[1].join(5)
    stopped = not consumers[1].is_alive()
    go_on.set()
    consumers[0].join(10)
    assert (stopped, ran, other.unsettled(), shop.unsettled()) == (True, [1], 1, 0)
    other.close()


def test_a_message_is_worked_on_by_the_instance_whose_consumer_took_it(shop: Shop) -> None:
    seen: Seen = []

    class Worker:
        def __init__(self, name: str) -> None:
            self.name = name

        @durable(shop.resonate, name="on_order")
        def on_order(self, ctx: Context, body: Any, message: Any) -> Generator[Any, Any, Any]:
            yield ctx.sleep(0.001)
            seen.append((body, self.name))

    of = {name: Worker(name).on_order for name in ("first", "second")}
    shop.consumer(lambda body, message: of[body](body, message))
    for name in of:
        shop.publish(name, name)
    shop.drain(2)
    shop.await_settled()
    assert sorted(seen) == [("first", "first"), ("second", "second")]


def test_classes_that_inherit_one_callback_are_durable_side_by_side(shop: Shop) -> None:
    ran: Seen = []

    class Base(ConsumerMixin):
        connection = shop.connection

        def get_consumers(self, consumer: Any, channel: Any) -> list[Any]:
            return [consumer([shop.queue], callbacks=[self.on_order])]

        def on_order(self, body: Any, message: Any) -> None:
            ran.append(type(self))
            message.ack()

    kinds = [durable(shop.resonate)(type(name, (Base,), {})) for name in ("Orders", "Refunds")]
    for kind in kinds:
        (made,) = kind().get_consumers(functools.partial(Consumer, shop.channel), shop.channel)
        shop.publish({}, kind.__name__)
        with made:
            shop.drain()
    assert ran == kinds
    names = [shop.promise(kind.__name__).param.headers["func"] for kind in kinds]
    assert names == ["Orders.on_order", "Refunds.on_order"]


def test_a_connection_that_breaks_at_the_acknowledgement_is_made_again(vhost_url: str) -> None:
    ran: Seen = []
    with Embedded() as system, Connection(vhost_url) as outside:
        resonate = Resonate(system=system, group="shop")
        outside.default_channel.queue_declare("orders", auto_delete=False)

        class Worker(ConsumerMixin):
            connection = Connection(vhost_url)
            restart_limit = TokenBucket(1000, 1000)

            def get_consumers(self, consumer: Any, channel: Any) -> list[Any]:
                return [consumer([Queue("orders", no_declare=True)], callbacks=[self.on_order])]

            @durable(resonate, name="on_order")
            def on_order(self, body: Any, message: Any) -> None:
                message.ack()
                message.channel.connection.transport.sock.shutdown(socket.SHUT_RDWR)
                ran.append(body)

        worker = Worker()
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            for number in range(6):
                outside.Producer().publish(number, routing_key="orders", message_id=f"{number}")
                wait_until("it is consumed", functools.partial(ran.__contains__, number))
        finally:
            worker.should_stop = True
            resonate.stop()
            thread.join(10)
        assert ran == list(range(6))
