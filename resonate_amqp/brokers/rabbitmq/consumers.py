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

from resonate_amqp.brokers.rabbitmq.corked import CorkedConnection
from resonate_amqp.brokers.rabbitmq.declaring import ensure
from resonate_amqp.ports import ConsumerLost, Consuming, Delivery, Event, Refused
from resonate_amqp.wire.topology import Queue

MOST_ABANDONED = 100


@dataclass(slots=True, eq=False)
class _Consumer:
    """`wanted` is a prefetch, `present` the one last acted on; None where nothing is taken.

    `granted` is what the present consumer may leave unacknowledged, beside `held_over`, which its
    predecessors on the channel have left. `asked` counts what the broker was asked and what it
    answered.
    """

    queue: Queue
    auto_ack: bool
    wanted: int | None
    present: int | None = None
    granted: int = 0
    held_over: set[int] = field(default_factory=set)
    channel: Channel | None = None
    tag: str = ""
    changing: bool = False
    asked: int = 0
    unacked: set[int] = field(default_factory=set)

    @property
    def bounded(self) -> bool:
        return bool(self.wanted) and not self.auto_ack

    def outdated(self) -> bool:
        """Whether another consumer has to take the place of the present one."""
        if self.wanted != self.present:
            return True
        if self.wanted is None or not self.bounded:
            return False
        missing = self.wanted - self.granted - len(self.held_over)
        return missing >= max(1, self.wanted // 4) or (missing > 0 and not self.held_over)


@dataclass(frozen=True, slots=True)
class _Handle:
    consumer: _Consumer
    tag: int


class Consumers:
    """The consumers of one connection; `push` receives deliveries and losses."""

    def __init__(
        self,
        connection: CorkedConnection,
        push: Callable[[Event], None],
        answer_within_s: float,
    ) -> None:
        self._connection = connection
        self._push = push
        self._answer_within_s = answer_within_s
        self._abandoned = 0
        self._consumers: dict[str, _Consumer] = {}

    def consume(self, queue: Queue, *, prefetch: int, auto_ack: bool, passive: bool) -> None:
        known = self._consumers.get(queue.name)
        if known is not None:
            known.wanted = prefetch
            self._change(known)
            return
        consumer = _Consumer(queue, auto_ack, prefetch)
        self._consumers[queue.name] = consumer
        self._expect_answer(consumer)

        def declared(reason: str) -> None:
            if self._consumers.get(queue.name) is not consumer:
                return
            if reason:
                self._forget(consumer)
                self._push(Refused(queue.name, reason))
            elif self._connection.is_open:
                self._connection.channel(
                    on_open_callback=lambda channel: self._start(channel, consumer)
                )

        if queue.exclusive:
            declared("")
        else:
            ensure(self._connection, queue, passive=passive, done=declared)

    def cancel(self, queue: str) -> None:
        consumer = self._consumers.get(queue)
        if consumer is not None:
            consumer.wanted = None
            self._change(consumer)

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
            self._change(consumer)

    def give_back(self, delivery: Delivery) -> None:
        handle = delivery.handle
        if isinstance(handle, _Handle) and self._settled(handle):
            assert handle.consumer.channel is not None
            handle.consumer.channel.basic_nack(handle.tag, requeue=True)
            self._change(handle.consumer)

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
        consumer.held_over.discard(handle.tag)
        return True

    def _ack_tags(self, consumer: _Consumer, tags: list[int]) -> None:
        assert consumer.channel is not None
        last = max(tags)
        if not consumer.unacked or min(consumer.unacked) > last:
            consumer.channel.basic_ack(last, multiple=True)
            return
        for tag in tags:
            consumer.channel.basic_ack(tag)

    def _start(self, channel: Channel, consumer: _Consumer) -> None:
        queue = consumer.queue
        if self._consumers.get(queue.name) is not consumer:
            channel.close()
            return
        consumer.channel = channel
        channel.add_on_close_callback(lambda _c, error: self._closed(consumer, error))
        channel.add_on_cancel_callback(lambda _frame: self._canceled_by_broker(consumer))
        if queue.exclusive:
            channel.queue_declare(
                queue.name,
                durable=queue.durable,
                exclusive=True,
                arguments=dict(queue.arguments) or None,
                callback=lambda _frame: self._change(consumer),
            )
        else:
            self._change(consumer)

    def _change(self, consumer: _Consumer) -> None:
        """Bring the present consumer to the wanted prefetch, a step at a time.

        RabbitMQ applies a prefetch to later consumers of a channel only, and to each of them
        apart. So the consumer is replaced; what is unacknowledged stays with the channel, and the
        new consumer is granted what that leaves.
        """
        channel = consumer.channel
        if channel is None or not channel.is_open or consumer.changing or not consumer.outdated():
            return

        def done(_frame: Any = None) -> None:
            consumer.asked += 1
            consumer.changing = False
            self._change(consumer)

        if consumer.tag:
            consumer.changing = True
            self._expect_answer(consumer)
            tag, consumer.tag, consumer.present, consumer.granted = consumer.tag, "", None, 0
            channel.basic_cancel(tag, callback=done)
            return
        wanted = consumer.present = consumer.wanted
        consumer.held_over = set(consumer.unacked)
        consumer.granted = max(0, (wanted or 0) - len(consumer.held_over))
        if wanted is None or (consumer.bounded and not consumer.granted):
            return
        consumer.changing = True
        self._expect_answer(consumer)

        def consuming(_frame: Any = None) -> None:
            if self._consumers.get(consumer.queue.name) is consumer:
                self._push(Consuming(consumer.queue.name))
            done()

        def consume(_frame: Any = None) -> None:
            consumer.tag = channel.basic_consume(
                consumer.queue.name,
                lambda *message: self._on_message(consumer, *message),
                auto_ack=consumer.auto_ack,
                callback=consuming,
            )

        if consumer.auto_ack:
            consume()
        else:
            prefetch = consumer.granted if consumer.bounded else 0
            channel.basic_qos(prefetch_count=prefetch, callback=consume)

    def _expect_answer(self, consumer: _Consumer) -> None:
        consumer.asked += 1
        asked = consumer.asked
        self._connection.ioloop.call_later(
            self._answer_within_s, lambda: self._overdue(consumer, asked)
        )

    def _overdue(self, consumer: _Consumer, asked: int) -> None:
        """A queue without a leader answers nobody: whoever wants it has to ask on a new channel.

        Each time a channel is left behind; rather than run out of them the connection is given up.
        """
        satisfied = not consumer.outdated() and not consumer.changing
        if consumer.asked != asked or satisfied or not self._forget(consumer):
            return
        reason = f"the broker did not answer within {self._answer_within_s:g} s"
        self._push(ConsumerLost(consumer.queue.name, reason))
        if consumer.channel is not None and consumer.channel.is_open:
            consumer.channel.close()
        self._abandoned += 1
        if self._abandoned >= MOST_ABANDONED:
            self._connection.abort()

    def _on_message(
        self,
        consumer: _Consumer,
        _channel: Channel,
        method: Basic.Deliver,
        properties: pika.BasicProperties,
        body: bytes,
    ) -> None:
        handle = None
        if not consumer.auto_ack:
            consumer.unacked.add(method.delivery_tag)
            handle = _Handle(consumer, method.delivery_tag)
        headers: dict[str, Any] = properties.headers or {}
        self._push(
            Delivery(
                queue=consumer.queue.name,
                body=body,
                handle=handle,
                redelivered=bool(method.redelivered),
                redeliveries=_count(headers.get("x-delivery-count")),
                reply_to=_text(properties.reply_to),
                correlation_id=_text(properties.correlation_id),
                headers=headers,
            )
        )

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


def _count(header: object) -> int:
    """The broker's count as a plain int (pika has its own); -1 for none, or a stranger's text."""
    return int(header) if isinstance(header, int) and not isinstance(header, bool) else -1


def _text(found: object) -> str:
    """A property as text; pika gives bytes for what is not UTF-8, which names no queue of ours."""
    return found if isinstance(found, str) else ""
