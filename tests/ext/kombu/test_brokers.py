"""Exchanges and brokers of a shop: copies of a message, and a Resonate that is elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Consumer, Exchange, Queue

from resonate_amqp import Context, Resonate
from resonate_amqp.dev.choose import ChosenBroker
from resonate_amqp.errors import UsageError
from resonate_amqp.ext.kombu import durable, durable_rpc_server
from tests.ext.kombu.test_over_rabbitmq import Shop

pytestmark = pytest.mark.rabbitmq

Seen = list[Any]


@pytest.fixture
def shop(vhost_url: str) -> Iterator[Shop]:
    made = Shop(vhost_url)
    with made.stack:
        yield made


@pytest.mark.parametrize(
    ("kind", "exclusive"),
    [("fanout", False), ("topic", True), ("topic", False), ("direct", False)],
)
def test_each_queue_that_gets_a_copy_of_its_own_has_it_executed(
    shop: Shop, kind: str, exclusive: bool
) -> None:
    """Two processes of one service: a fanout, or queues of their own, notify each of them."""
    ran: Seen = []
    exchange = Exchange("changes", kind)
    channel = shop.connection.default_channel
    for number in range(2):
        process = Resonate(system=shop.system, group="caches")
        shop.stack.callback(process.stop)

        @durable(process, name="on_change")
        def on_change(body: Any, message: Any, number: int = number) -> None:
            ran.append(number)
            message.ack()

        queue = Queue(f"changes-{number}", exchange, "change", exclusive=exclusive)
        Consumer(channel, [queue], callbacks=[on_change]).consume()
    shop.outside.Producer().publish(
        1, exchange="changes", routing_key="change", message_id="change-1"
    )
    for _ in range(2):
        shop.connection.drain_events(timeout=5)
    assert sorted(ran) == [0, 1]
    assert len(shop.resonate.promises.search("message_id", "change-1")) == 2


def test_a_resonate_of_another_virtual_host_is_refused_at_the_first_message(
    shop: Shop, broker: ChosenBroker
) -> None:
    elsewhere = broker.new_vhost()
    other = Resonate(elsewhere, group="shop")
    try:

        @durable(other)
        def on_order(body: Any, message: Any) -> None:
            raise AssertionError("its outcome would be recorded elsewhere")

        @other.register
        def price(ctx: Context) -> int:
            return 1

        shop.consumer(on_order)
        shop.publish("order-1")
        with pytest.raises(UsageError, match="another virtual host") as refused:
            shop.connection.drain_events(timeout=5)
        for url in (shop.url, elsewhere):
            assert url.rpartition("/")[2] in str(refused.value)
        assert "from_kombu(connection)" in str(refused.value)
        server = durable_rpc_server(other, shop.connection, "orders", "price")
        with pytest.raises(UsageError, match="another virtual host"):
            server.get_consumers(Consumer, shop.connection.default_channel)
        assert shop.left() == 1
    finally:
        other.stop()
        broker.discard_vhost(elsewhere)
