"""What a stranger writes into a message's properties reaches nobody as a surprise."""

from __future__ import annotations

import contextlib

import pika
import pytest

from resonate_amqp.brokers.rabbitmq import RabbitBroker
from resonate_amqp.ports import Consuming, Delivery, Disconnected, Opened
from resonate_amqp.wire.topology import Queue
from tests.brokers.party import Party

WORK = Queue("work", arguments=(("x-queue-type", "classic"),))


@pytest.mark.parametrize(
    "properties",
    [
        pika.BasicProperties(headers={"x-delivery-count": "abc"}),
        pika.BasicProperties(headers={"x-delivery-count": True}),
        pika.BasicProperties(reply_to=b"\xff\xfe"),
    ],
    ids=["count", "flag", "reply_to"],
)
def test_odd_properties_are_read_as_absent(
    vhost_url: str, properties: pika.BasicProperties
) -> None:
    party = Party(RabbitBroker(vhost_url), [])
    try:
        party.until(lambda: party.all(Opened))
        party.broker.consume(WORK, prefetch=10)
        party.until(lambda: party.all(Consuming))
        with contextlib.closing(pika.BlockingConnection(pika.URLParameters(vhost_url))) as raw:
            raw.channel().basic_publish("", WORK.name, b"body", properties)
        party.until(lambda: party.all(Delivery))
        [delivery] = party.all(Delivery)
        assert (delivery.redeliveries, delivery.reply_to) == (-1, "")
        assert party.all(Disconnected) == []
    finally:
        party.close()


def test_a_delivery_count_is_a_plain_int(vhost_url: str) -> None:
    properties = pika.BasicProperties(headers={"x-delivery-count": 2**40})
    party = Party(RabbitBroker(vhost_url), [])
    try:
        party.until(lambda: party.all(Opened))
        party.broker.consume(WORK, prefetch=10)
        party.until(lambda: party.all(Consuming))
        with contextlib.closing(pika.BlockingConnection(pika.URLParameters(vhost_url))) as raw:
            raw.channel().basic_publish("", WORK.name, b"body", properties)
        party.until(lambda: party.all(Delivery))
        assert type(party.all(Delivery)[0].redeliveries) is int
    finally:
        party.close()
