"""Over RabbitMQ: what the broker is told, when, and from which thread; the ledger is embedded."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import Any

import amqp
import pika
import pytest
from kombu import Connection, Consumer, Queue

from resonate_amqp import Context, Resonate
from resonate_amqp.brokers.rabbitmq.urls import parameters
from resonate_amqp.errors import UsageError
from resonate_amqp.ext.kombu import durable
from resonate_amqp.resonate.embedded import Embedded
from resonate_amqp.resonate.kombu_urls import url_of
from tests.ext.kombu.conftest import Node
from tests.ext.kombu.shop import wait_until

Seen = list[Any]
ODD = {"x-max-length": 1000, "x-max-priority": 4, "x-dead-letter-exchange": "nowhere"}


class Shop:
    """A queue on the broker, and a connection that consumes it."""

    def __init__(self, url: str, arguments: dict[str, Any] | None = None, **options: Any) -> None:
        self.stack = ExitStack()
        self.url = url
        self.system = self.stack.enter_context(Embedded())
        self.resonate = Resonate(system=self.system, group="shop")
        self.stack.callback(self.resonate.stop)
        self.outside = self.stack.enter_context(Connection(url))
        self.outside.default_channel.queue_declare(
            "orders", durable=True, auto_delete=False, arguments=arguments
        )
        self.connection = Connection(url, **options)
        self.stack.callback(self.connection.close)

    def consumer(self, *callbacks: Any, prefetch: int = 1, **options: Any) -> Consumer:
        """Consume the queue, as it is."""
        queue = Queue("orders", no_declare=True)
        channel = self.connection.default_channel
        made: Consumer = Consumer(
            channel, [queue], callbacks=list(callbacks), prefetch_count=prefetch, **options
        )
        made.consume()
        return made

    def publish(self, *ids: str, **body: Any) -> None:
        """Publish a message for each id."""
        producer = self.outside.Producer()
        for each in ids:
            told = {"id": each, **body}
            producer.publish(told, routing_key="orders", message_id=each, delivery_mode=2)

    def result(self, message_id: str, timeout_s: float = 5) -> Any:
        """What the execution of a message came to."""
        (promise,) = self.resonate.promises.search("message_id", message_id)
        return self.resonate.get(promise.id).result(timeout_s)

    def state(self) -> tuple[int, int]:
        """How many messages nobody holds lie in the queue, and how many consumers it has."""
        declared = self.outside.default_channel.queue_declare("orders", passive=True)
        return int(declared.message_count), int(declared.consumer_count)

    def left(self) -> int:
        """How many messages are in the queue once its consumer's connection is lost."""
        self.connection.collect()
        wait_until("the consumer is gone", lambda: self.state()[1] == 0)
        return self.state()[0]


@pytest.fixture
def shop(vhost_url: str) -> Iterator[Shop]:
    made = Shop(vhost_url)
    with made.stack:
        yield made


def test_an_ack_leaves_at_once_while_the_consumer_waits_for_the_next_message(shop: Shop) -> None:
    """With a prefetch of one the next message comes only when this one is acknowledged."""
    go = threading.Event()

    @durable(shop.resonate)
    def on_order(ctx: Context, body: Any, message: Any) -> None:
        go.wait(10)

    shop.consumer(on_order)
    shop.publish("order-1", "order-2")
    shop.connection.drain_events(timeout=5)
    threading.Timer(0.2, go.set).start()
    began = time.monotonic()
    shop.connection.drain_events(timeout=10)
    assert time.monotonic() - began < 2
    assert shop.left() == 1


def test_a_plain_callback_is_acknowledged_before_drain_events_returns(shop: Shop) -> None:
    @durable(shop.resonate)
    def on_order(body: Any, message: Any) -> None:
        message.ack()

    shop.consumer(on_order, prefetch=2)
    shop.publish("order-1", "order-2", "order-3")
    for _ in range(2):
        shop.connection.drain_events(timeout=5)
    assert shop.left() == 1


def test_callbacks_after_a_durable_one_see_the_same_message_at_each_delivery(shop: Shop) -> None:
    seen: Seen = []

    @durable(shop.resonate)
    def on_order(body: Any, message: Any) -> None:
        message.reject()

    shop.consumer(on_order, lambda body, message: seen.append(message._state))
    for _ in range(2):
        shop.publish("order-1")
        shop.connection.drain_events(timeout=5)
    assert seen == ["REJECTED", "REJECTED"]
    shop.connection.close()
    assert shop.state() == (0, 0)


def test_a_script_that_takes_one_message_and_closes_has_acknowledged_it(shop: Shop) -> None:
    @durable(shop.resonate)
    def on_order(body: Any, message: Any) -> None:
        message.ack()

    shop.publish("order-1")
    shop.consumer(on_order)
    shop.connection.drain_events(timeout=5)
    shop.connection.close()
    assert shop.state() == (0, 0)


def test_drain_events_keeps_its_timeout_whatever_arrives_meanwhile(vhost_url: str) -> None:
    shop = Shop(vhost_url, heartbeat=1)
    with shop.stack:

        @durable(shop.resonate)
        def on_order(body: Any, message: Any) -> None:
            message.ack()

        shop.consumer(on_order)
        shop.publish("order-1")
        shop.connection.drain_events(timeout=5)
        for timeout in (0, 0.1, 1.2):
            began = time.monotonic()
            with pytest.raises(socket.timeout):
                shop.connection.drain_events(timeout=timeout)
            assert timeout - 0.01 <= time.monotonic() - began < timeout + 0.5


def test_a_closed_connection_leaves_nothing_open_and_is_itself_again(shop: Shop) -> None:
    @durable(shop.resonate)
    def on_order(body: Any, message: Any) -> None:
        message.ack()

    def once(promise_id: str) -> amqp.Connection:
        shop.publish(promise_id)
        with Connection(shop.url) as connection:
            queue = Queue("orders", no_declare=True)
            with Consumer(connection, [queue], callbacks=[on_order]):
                connection.drain_events(timeout=5)
                wrapped = connection.connection
                assert "drain_events" in vars(wrapped)
        return wrapped

    once("order-1")
    before = sorted(os.listdir("/proc/self/fd"))
    closed = once("order-2")
    assert not {"drain_events", "close", "collect"} & vars(closed).keys()
    assert closed.durable_drain.post(print) is False
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert shop.state() == (0, 0)


def test_a_consumer_without_acknowledgements_is_refused_by_name(shop: Shop) -> None:
    @durable(shop.resonate)
    def on_order(body: Any, message: Any) -> None:
        raise AssertionError("it must not run")

    shop.consumer(on_order, no_ack=True)
    shop.publish("order-1")
    with pytest.raises(UsageError, match="queue 'orders' is consumed with no_ack=True"):
        shop.connection.drain_events(timeout=5)


def test_an_ack_never_reaches_another_opening_of_its_channel(shop: Shop) -> None:
    """The broker closes a channel that acknowledges what it does not know."""
    go = threading.Event()
    ran: Seen = []

    @durable(shop.resonate)
    def on_order(ctx: Context, body: Any, message: Any) -> None:
        ran.append(body["id"])
        go.wait(10)

    consumer = shop.consumer(on_order)
    shop.publish("order-1")
    shop.connection.drain_events(timeout=5)
    wait_until("it runs", lambda: ran)
    shop.connection.default_channel.basic_ack(99)
    with pytest.raises(amqp.PreconditionFailed):
        shop.connection.drain_events(timeout=5)
    go.set()
    assert shop.result("order-1") is None
    with pytest.raises(socket.timeout):
        shop.connection.drain_events(timeout=0.3)
    consumer.revive(shop.connection.default_channel)
    consumer.consume()
    shop.connection.drain_events(timeout=5)
    with pytest.raises(socket.timeout):
        shop.connection.drain_events(timeout=0.5)
    assert shop.left() == 0
    assert ran == ["order-1"]


def test_the_connection_is_kept_alive_while_a_callback_waits_for_its_turn(vhost_url: str) -> None:
    """The promise runs elsewhere for several heartbeats."""
    shop = Shop(vhost_url, heartbeat=1)
    go = threading.Event()
    with shop.stack:

        @durable(shop.resonate, name="on_order", id=lambda body, message: body["id"])
        def on_order(body: Any, message: Any) -> None:
            raise AssertionError("it runs elsewhere")

        other = Resonate(system=shop.system, group="elsewhere")
        shop.stack.callback(other.stop)

        @other.register(name="on_order")
        def runs(ctx: Context, record: Any) -> str:
            go.wait(20)
            return "elsewhere"

        shop.consumer(on_order)
        shop.publish("order-1")
        handle = other.run("order-1", "on_order", {})
        threading.Timer(3.5, go.set).start()
        shop.connection.drain_events(timeout=5)
        assert handle.result(5) == "elsewhere"
        assert shop.connection.connected
        shop.publish("order-2")
        handle = other.run("order-2", "on_order", {})
        shop.connection.drain_events(timeout=5)
        assert shop.left() == 0


def test_a_queue_with_arguments_of_its_own_is_used_as_it_is(vhost_url: str) -> None:
    shop = Shop(vhost_url, arguments=ODD)
    with shop.stack:

        @durable(shop.resonate)
        def on_order(body: Any, message: Any) -> None:
            message.ack()

        shop.consumer(on_order)
        shop.publish("order-1")
        shop.connection.drain_events(timeout=5)
        shop.connection.close()
        assert shop.state() == (0, 0)
        channel = shop.outside.channel()
        with pytest.raises(amqp.PreconditionFailed, match="x-"):
            channel.queue_declare("orders", durable=True, auto_delete=False)


def test_messages_are_settled_as_each_ends_in_whatever_order_that_is(shop: Shop) -> None:
    began: Seen = []
    gates = {f"order-{n}": threading.Event() for n in range(3)}

    @durable(shop.resonate)
    def on_order(ctx: Context, body: Any, message: Any) -> Generator[Any, Any, None]:
        began.append(body["id"])
        yield ctx.lfc(lambda ctx: gates[body["id"]].wait(10) and None)

    shop.consumer(on_order, prefetch=3)
    shop.publish(*gates)
    for _ in gates:
        shop.connection.drain_events(timeout=5)
    gates["order-2"].set()
    wait_until("it has begun", lambda: "order-2" in began)
    assert shop.result("order-2") is None
    with pytest.raises(socket.timeout):
        shop.connection.drain_events(timeout=0.3)
    assert shop.left() == 2
    for gate in gates.values():
        gate.set()


def test_acknowledgements_go_through_under_a_memory_alarm(node: Node) -> None:
    """The user's connection has only consumed, and is not blocked."""
    shop = Shop(node.new_vhost())
    with shop.stack:
        seen: Seen = []

        @durable(shop.resonate)
        def on_order(body: Any, message: Any) -> None:
            seen.append(body["id"])
            message.ack()

        shop.consumer(on_order)
        shop.publish("order-1", "order-2", "order-3")
        shop.connection.drain_events(timeout=5)
        node.control("set_vm_memory_high_watermark", "0")
        try:
            # With a prefetch of one each comes only when the one before was acknowledged.
            for _ in range(2):
                shop.connection.drain_events(timeout=5)
            shop.connection.close()
            with Connection(shop.url) as fresh:
                declared = fresh.default_channel.queue_declare("orders", passive=True)
            assert (seen, declared.message_count) == (["order-1", "order-2", "order-3"], 0)
        finally:
            node.control("set_vm_memory_high_watermark", "0.4")


def test_an_ack_leaves_at_once_over_tls_too(node: Node) -> None:
    """TLS may have bytes in hand of which the socket tells nothing: large messages show it."""
    if not node.certificate.exists():
        pytest.skip("openssl is not installed: no certificate could be made")
    url = node.new_vhost()
    go = threading.Event()
    secured = {"ca_certs": str(node.certificate), "server_hostname": "localhost"}
    vhost = url.rpartition("/")[2]
    shop = Shop(url)
    with shop.stack:
        own = Connection(f"amqp://guest:guest@localhost:{node.tls_port}/{vhost}", ssl=secured)
        shop.connection = shop.stack.enter_context(own)
        told = parameters(url_of(own), heartbeat_s=15, name="test")
        with contextlib.closing(pika.BlockingConnection(told)) as ours:
            assert ours.is_open

        @durable(shop.resonate)
        def on_order(ctx: Context, body: Any, message: Any) -> int:
            go.wait(10)
            return len(body["padding"])

        shop.consumer(on_order, prefetch=2)
        shop.publish(*(f"order-{n}" for n in range(6)), padding="x" * 100_000)
        for _ in range(2):
            shop.connection.drain_events(timeout=5)
        threading.Timer(0.2, go.set).start()
        began = time.monotonic()
        for _ in range(4):
            shop.connection.drain_events(timeout=5)
        assert time.monotonic() - began < 4
        assert shop.result("order-3") == 100_000
