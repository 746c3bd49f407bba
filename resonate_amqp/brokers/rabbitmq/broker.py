"""RabbitBroker: RabbitMQ as the port `Broker`.

Consuming and publishing use separate connections, so that a broker that blocks publishers still
takes our acknowledgements. Both live on one pika I/O loop, which runs only inside `poll`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Sequence
from typing import Any
from weakref import WeakSet

import pika
from pika.adapters.select_connection import IOLoop

from resonate_amqp.brokers.rabbitmq.consumers import Consumers
from resonate_amqp.brokers.rabbitmq.corked import CorkedConnection
from resonate_amqp.brokers.rabbitmq.declaring import ensure, measure
from resonate_amqp.brokers.rabbitmq.link import Link
from resonate_amqp.brokers.rabbitmq.publisher import Publisher
from resonate_amqp.brokers.rabbitmq.urls import parameters, shown
from resonate_amqp.ports import (
    Blocked,
    Delivery,
    Disconnected,
    Event,
    Inspected,
    Opened,
    Refused,
    Unconfirmed,
)
from resonate_amqp.wire.properties import PLAIN, Properties
from resonate_amqp.wire.topology import Exchange, Queue

log = logging.getLogger(__name__)

ANSWER_WITHIN_S = 30.0
CLOSE_WITHIN_MS = 2_000
TELL_AGAIN_S = 60.0


class RabbitBroker:
    """Access to the broker behind `urls` (several joined by `;`); connects at the first poll.

    Raises UsageError for urls that cannot be read. The thread that polls must be the one that
    made it, or the only one using it.
    """

    def __init__(
        self,
        urls: str,
        *,
        heartbeat_s: int = 15,
        name: str = "resonate_amqp",
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        self.shown = shown(urls)
        consuming = parameters(urls, heartbeat_s=heartbeat_s, name=f"{name} consume")
        publishing = parameters(urls, heartbeat_s=heartbeat_s, name=f"{name} publish")
        self._loop = IOLoop()
        self._loop.activate_poller()
        self._events: deque[Event] = deque()
        self._consumers: Consumers | None = None
        self._publisher: Publisher | None = None
        self._publishing: pika.SelectConnection | None = None
        self._answer_within_s = answer_within_s
        self._measured: set[str] = set()
        self._epoch = 0
        self._blocked = False
        self._closed = False
        self._reported = False
        self._told_at: float | None = None
        self._links = (
            Link(self._loop, consuming, self._consuming_opened, self._consuming_lost, _ignore),
            Link(
                self._loop,
                publishing,
                self._publishing_opened,
                self._publishing_lost,
                self._on_blocked,
            ),
        )
        _brokers.add(self)

    def poll(self, timeout_ms: int) -> list[Event]:
        self._run_loop(0 if self._events else timeout_ms)
        events = list(self._events)
        self._events.clear()
        return events

    def wake(self) -> None:
        if not self._closed:
            self._loop.add_callback_threadsafe(_ignore)

    def declare(self, *things: Queue | Exchange, passive: bool = False) -> None:
        """Declares in the given order, so that a queue may be bound to an exchange before it."""
        if self._publishing is None or not things:
            return
        thing, rest = things[0], things[1:]

        def done(reason: str) -> None:
            if reason:
                self._push(Refused(thing.name, reason))
            self.declare(*rest, passive=passive)

        ensure(self._publishing, thing, passive=passive, done=done)

    def inspect(self, queue: str) -> None:
        """A queue that does not answer is not asked again on the same connection."""
        connection = self._publishing
        if connection is None or not connection.is_open or queue in self._measured:
            return
        self._measured.add(queue)

        def done(messages: int | None, consumers: int | None) -> None:
            self._measured.discard(queue)
            self._push(Inspected(queue, messages, consumers))

        measure(connection, queue, done)

    def consume(
        self, queue: Queue, *, prefetch: int, auto_ack: bool = False, passive: bool = False
    ) -> None:
        if self._consumers is not None:
            self._consumers.consume(queue, prefetch=prefetch, auto_ack=auto_ack, passive=passive)

    def cancel(self, queue: str) -> None:
        if self._consumers is not None:
            self._consumers.cancel(queue)

    def leave(self, queue: str) -> None:
        if self._consumers is not None:
            self._consumers.leave(queue)

    def publish(
        self,
        key: str,
        body: bytes,
        *,
        exchange: str = "",
        persistent: bool = False,
        mandatory: bool = False,
        token: int = 0,
        reply_to: str = "",
        properties: Properties = PLAIN,
    ) -> None:
        if self._publisher is None:
            if token:
                self._push(Unconfirmed((token,)))
            return
        self._publisher.publish(
            exchange,
            key,
            body,
            persistent=persistent,
            mandatory=mandatory,
            token=token,
            reply_to=reply_to,
            properties=properties,
        )

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        if self._consumers is not None and deliveries:
            self._consumers.ack(deliveries)

    def give_back(self, delivery: Delivery) -> None:
        if self._consumers is not None:
            self._consumers.give_back(delivery)

    def connected(self) -> bool:
        return self._publisher is not None and self._publisher.open and not self._blocked

    def flush(self) -> None:
        self._run_loop(0)

    def abort(self) -> None:
        for link in self._links:
            link.abort()

    def close(self) -> None:
        """Send what is buffered and close both connections, within two seconds."""
        for link in self._links:
            link.close()
        for _ in range(CLOSE_WITHIN_MS // 50):
            if all(link.closed for link in self._links) and not self._sockets():
                break
            # pika trips over a handshake that is refused while it is being given up.
            with contextlib.suppress(AssertionError):
                self.poll(50)
        self._closed = True
        self._loop.deactivate_poller()
        self._loop.close()

    def _sockets(self) -> int:
        """How many sockets are watched, beside the one that wakes the loop.

        A connection that is given up while it is made counts as closed before its socket is.
        """
        return len(self._loop._poller._fd_handlers) - 1

    def _run_loop(self, timeout_ms: int) -> None:
        """Send what was written, and take in what has come or comes within the time."""
        # Acknowledgements go last: what they let go of must have been sent before.
        for link in reversed(self._links):
            link.uncork()
        timeout = self._loop.call_later(timeout_ms / 1000, _ignore)
        self._loop.poll()
        self._loop.process_timeouts()
        self._loop.remove_timeout(timeout)

    def _push(self, event: Event) -> None:
        self._events.append(event)

    def _consuming_opened(self, connection: CorkedConnection) -> None:
        self._epoch += 1
        self._consumers = Consumers(connection, self._push, self._answer_within_s)
        self._report_open()

    def _consuming_lost(self, reason: str, refused: bool) -> None:
        consumers, self._consumers = self._consumers, None
        self._report_lost(reason, refused)
        if consumers is not None:
            consumers.lost(reason)

    def _publishing_opened(self, connection: pika.SelectConnection) -> None:
        self._publishing = connection
        self._measured.clear()
        self._publisher = Publisher(connection, self._push, self._report_open)

    def _publishing_lost(self, reason: str, refused: bool) -> None:
        publisher, self._publisher = self._publisher, None
        self._publishing = None
        if self._blocked:
            self._on_blocked(False)
        self._report_lost(reason, refused)
        if publisher is not None:
            publisher.lost()

    def _on_blocked(self, blocked: bool) -> None:
        self._blocked = blocked
        log.warning("%s %s publishing", self.shown, "blocks" if blocked else "unblocks")
        self._push(Blocked(blocked))

    def _report_open(self) -> None:
        """Tell the owner once both connections work; a replaced channel is no news."""
        ready = self._consumers is not None and self._publisher is not None
        if ready and self._publisher is not None and self._publisher.open and not self._reported:
            self._reported = True
            self._told_at = None
            log.info("connected to %s", self.shown)
            self._push(Opened(self._epoch))

    def _report_lost(self, reason: str, refused: bool) -> None:
        self._reported = False
        self._tell_lost(reason)
        self._push(Disconnected(reason, refused))

    def _tell_lost(self, reason: str) -> None:
        """Each of two connections tries again every few seconds: that is worth a line a minute."""
        now = time.monotonic()
        if self._told_at is None:
            log.warning("no connection to %s: %s", self.shown, reason)
        elif now - self._told_at >= TELL_AGAIN_S:
            log.warning("still no connection to %s: %s", self.shown, reason)
        else:
            return
        self._told_at = now

    def _forked(self) -> None:
        """In a forked child: let go of the parent's sockets without a word to the broker.

        Held by the child, they would keep a parent's connections open after its death. Their
        numbers stay taken, so that nothing of the child's gets closed or watched in their place.
        """
        if self._closed:
            return
        self._closed = True
        poller = self._loop._poller
        inherited = {*poller._fd_handlers, poller._w_interrupt.fileno()}
        polled: Any = getattr(poller, "_poll", None)
        if hasattr(polled, "fileno"):
            inherited.add(polled.fileno())
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in inherited:
            os.dup2(nowhere, descriptor, inheritable=False)
        os.close(nowhere)


_brokers: WeakSet[RabbitBroker] = WeakSet()


def _after_fork() -> None:
    for broker in list(_brokers):
        broker._forked()


os.register_at_fork(after_in_child=_after_fork)


def _ignore(*_: object) -> None:
    return
