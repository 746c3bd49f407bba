"""What a stranger writes into a message's properties reaches nobody as a surprise."""

from __future__ import annotations

import contextlib

import pika
import pytest

from resonate_amqp.brokers.rabbitmq import RabbitBroker
from resonate_amqp.brokers.rabbitmq.properties import basic
from resonate_amqp.ports import Consuming, Delivery, Disconnected, Opened
from resonate_amqp.wire.properties import BYTES, TIMESTAMP, Properties
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


def test_headers_that_json_has_no_type_for_are_sent_in_their_own(vhost_url: str) -> None:
    headers = {
        "signature": {BYTES: "AP8="},
        "x-death": [{"time": {TIMESTAMP: 1_767_323_045}, "count": 2}],
    }
    made = basic(Properties(headers=headers), persistent=True, reply_to="", message_id="m")
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(vhost_url))) as raw:
        channel = raw.channel()
        channel.queue_declare("typed")
        channel.basic_publish("", "typed", b"", made)
        _, received, _ = channel.basic_get("typed", auto_ack=True)
    assert received.headers["signature"] == b"\0\xff"
    [death] = received.headers["x-death"]
    assert death["time"].timestamp() == 1_767_323_045
    assert death["count"] == 2
