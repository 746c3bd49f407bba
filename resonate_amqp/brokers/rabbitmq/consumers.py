"""Consumers: what one consuming connection takes, one channel a queue.

A delivery can be settled only on the channel it came by; what belongs to an earlier channel is
dropped silently, because the broker has long given it to somebody else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pika
from pika.channel import Channel
from pika.spec import Basic

from resonate_amqp.brokers.rabbitmq.declaring import ensure
from resonate_amqp.ports import ConsumerLost, Consuming, Delivery, Event, Refused
from resonate_amqp.wire.topology import Queue


@dataclass(slots=True, eq=False)
class _Consumer:
    queue: Queue
    channel: Channel | None = None
    tag: str = ""
    unacked: set[int] = field(default_factory=set)
    canceled: bool = False


@dataclass(frozen=True, slots=True)
class _Handle:
    consumer: _Consumer
    tag: int


class Consumers:
    """The consumers of one connection; `push` receives deliveries and losses."""

    def __init__(self, connection: pika.SelectConnection, push: Callable[[Event], None]) -> None:
        self._connection = connection
        self._push = push
        self._consumers: dict[str, _Consumer] = {}

    def consume(self, queue: Queue, *, prefetch: int, auto_ack: bool) -> None:
        if queue.name in self._consumers:
            return
        consumer = _Consumer(queue)
        self._consumers[queue.name] = consumer

        def declared(reason: str) -> None:
            if reason:
                self._forget(consumer)
                self._push(Refused(queue.name, reason))
            elif self._connection.is_open:
                self._connection.channel(
                    on_open_callback=lambda channel: self._start(
                        channel, consumer, prefetch, auto_ack
                    )
                )

        if queue.exclusive:
            declared("")
        else:
            ensure(self._connection, queue, passive=False, done=declared)

    def cancel(self, queue: str) -> None:
        consumer = self._consumers.get(queue)
        if consumer is not None and not consumer.canceled:
            consumer.canceled = True
            if consumer.channel is not None and consumer.channel.is_open and consumer.tag:
                consumer.channel.basic_cancel(consumer.tag)

    def leave(self, queue: str) -> None:
        """Close the queue's channel, which returns what is unacknowledged on it."""
        consumer = self._consumers.pop(queue, None)
        if consumer is not None and consumer.channel is not None and consumer.channel.is_open:
            consumer.channel.close()

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        by_consumer: dict[int, tuple[_Consumer, list[int]]] = defaultdict()
        for delivery in deliveries:
            handle = delivery.handle
            if isinstance(handle, _Handle) and self._settled(handle):
                entry = by_consumer.setdefault(id(handle.consumer), (handle.consumer, []))
                entry[1].append(handle.tag)
        for consumer, tags in by_consumer.values():
            self._ack_tags(consumer, tags)

    def give_back(self, delivery: Delivery) -> None:
        handle = delivery.handle
        if isinstance(handle, _Handle) and self._settled(handle):
            assert handle.consumer.channel is not None
            handle.consumer.channel.basic_nack(handle.tag, requeue=True)

    def lost(self, reason: str) -> None:
        """The connection is gone, and every delivery with it."""
        for name in list(self._consumers):
            del self._consumers[name]
            self._push(ConsumerLost(name, reason))

    def _settled(self, handle: _Handle) -> bool:
        """Whether the delivery is still ours to settle; from now on it is not."""
        consumer = handle.consumer
        if consumer.channel is None or not consumer.channel.is_open:
            return False
        if handle.tag not in consumer.unacked:
            return False
        consumer.unacked.discard(handle.tag)
        return True

    def _ack_tags(self, consumer: _Consumer, tags: list[int]) -> None:
        assert consumer.channel is not None
        last = max(tags)
        if not consumer.unacked or min(consumer.unacked) > last:
            consumer.channel.basic_ack(last, multiple=True)
            return
        for tag in tags:
            consumer.channel.basic_ack(tag)

    def _start(self, channel: Channel, consumer: _Consumer, prefetch: int, auto_ack: bool) -> None:
        queue = consumer.queue
        if self._unwanted(consumer):
            self._forget(consumer)
            channel.close()
            return
        consumer.channel = channel
        channel.add_on_close_callback(lambda _c, error: self._closed(consumer, error))
        channel.add_on_cancel_callback(lambda _frame: self._canceled_by_broker(consumer))

        def on_message(
            _channel: Channel, method: Basic.Deliver, properties: pika.BasicProperties, body: bytes
        ) -> None:
            handle = None
            if not auto_ack:
                consumer.unacked.add(method.delivery_tag)
                handle = _Handle(consumer, method.delivery_tag)
            headers: dict[str, Any] = properties.headers or {}
            self._push(
                Delivery(
                    queue=queue.name,
                    body=body,
                    handle=handle,
                    redelivered=bool(method.redelivered),
                    redeliveries=_count(headers.get("x-delivery-count")),
                    reply_to=_text(properties.reply_to),
                    headers=headers,
                )
            )

        def consume(_frame: Any = None) -> None:
            if self._unwanted(consumer):
                self._forget(consumer)
                channel.close()
                return
            consumer.tag = channel.basic_consume(
                queue.name,
                on_message,
                auto_ack=auto_ack,
                callback=lambda _ok: self._push(Consuming(queue.name)),
            )

        def set_prefetch(_frame: Any = None) -> None:
            if auto_ack:
                consume()
            else:
                channel.basic_qos(prefetch_count=prefetch, callback=consume)

        if queue.exclusive:
            channel.queue_declare(
                queue.name,
                durable=queue.durable,
                exclusive=True,
                arguments=dict(queue.arguments) or None,
                callback=set_prefetch,
            )
        else:
            set_prefetch()

    def _closed(self, consumer: _Consumer, error: BaseException) -> None:
        if self._forget(consumer):
            reason = getattr(error, "reply_text", None) or error
            self._push(ConsumerLost(consumer.queue.name, f"its channel was closed: {reason}"))

    def _canceled_by_broker(self, consumer: _Consumer) -> None:
        if self._forget(consumer):
            self._push(ConsumerLost(consumer.queue.name, "the broker canceled the consumer"))
            if consumer.channel is not None and consumer.channel.is_open:
                consumer.channel.close()

    def _forget(self, consumer: _Consumer) -> bool:
        """Whether it was still ours; its queue may meanwhile be consumed on another channel."""
        if self._consumers.get(consumer.queue.name) is not consumer:
            return False
        del self._consumers[consumer.queue.name]
        return True

    def _unwanted(self, consumer: _Consumer) -> bool:
        """Whether the owner left or canceled before the consumer stood."""
        return consumer.canceled or self._consumers.get(consumer.queue.name) is not consumer


def _count(header: object) -> int:
    """The broker's count as a plain int (pika has its own); -1 for none, or a stranger's text."""
    return int(header) if isinstance(header, int) and not isinstance(header, bool) else -1


def _text(found: object) -> str:
    """A property as text; pika gives bytes for what is not UTF-8, which names no queue of ours."""
    return found if isinstance(found, str) else ""
