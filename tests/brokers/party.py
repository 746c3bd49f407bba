"""One process at a broker, and the two kinds of site where several of them meet."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import pika

from resonate_amqp.brokers.memory import MemoryBroker
from resonate_amqp.brokers.rabbitmq import RabbitBroker
from resonate_amqp.ports import (
    Broker,
    Confirmed,
    Consuming,
    Delivery,
    Event,
    Inspected,
    Opened,
    Unconfirmed,
)
from resonate_amqp.wire.topology import Queue, reply_queue

PATIENCE_S = 10.0

E = TypeVar("E", bound=Event)

_barriers = itertools.count()


class Party:
    """A broker's user that remembers every event; all waiting has a deadline.

    While it waits its peers are polled too: nothing moves on a connection that nobody polls.
    """

    def __init__(self, broker: Broker, peers: list[Party]) -> None:
        self.broker = broker
        self.events: list[Event] = []
        self._peers = peers
        peers.append(self)

    def close(self) -> None:
        self._peers.remove(self)
        self.broker.close()

    def poll(self, timeout_ms: int = 20) -> list[Event]:
        events = self.broker.poll(timeout_ms)
        self.events.extend(events)
        return events

    def until(self, condition: Callable[[], object], within_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, f"it did not happen; seen: {self.events}"
            for peer in self._peers:
                peer.poll(20 // len(self._peers))

    def all(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def await_event(self, kind: type[E], number: int = 1) -> E:
        """The `number`-th event of a kind since the last `forget`."""
        self.until(lambda: len(self.all(kind)) >= number)
        return self.all(kind)[number - 1]

    def deliveries(self, queue: str, count: int) -> list[Delivery]:
        """The first `count` deliveries of the queue since the last `forget`."""
        self.until(lambda: len(self.seen(queue)) >= count)
        return self.seen(queue)[:count]

    def seen(self, queue: str) -> list[Delivery]:
        return [delivery for delivery in self.all(Delivery) if delivery.queue == queue]

    def bodies(self, queue: str, count: int) -> list[bytes]:
        return [delivery.body for delivery in self.deliveries(queue, count)]

    def forget(self) -> None:
        self.events.clear()

    def consume(self, queue: Queue, *, prefetch: int = 10, auto_ack: bool = False) -> None:
        """Consume, and wait until the broker has confirmed it."""
        self.broker.consume(queue, prefetch=prefetch, auto_ack=auto_ack)
        self.until(lambda: Consuming(queue.name) in self.events)

    def declare(self, queue: Queue) -> None:
        """Declare, and wait until a message to the queue is routed."""
        self.broker.declare(queue)
        self.barrier()

        def there() -> bool:
            seen = [event for event in self.all(Inspected) if event.queue == queue.name]
            if seen and seen[-1].messages is not None:
                self.events = [event for event in self.events if event not in seen]
                return True
            self.broker.inspect(queue.name)
            return False

        self.until(there)

    def publish(self, key: str, *bodies: bytes) -> None:
        """Publish, and wait until the broker has every message."""
        first = len([token for event in self.all(Confirmed) for token in event.tokens]) + 1000
        tokens = range(first, first + len(bodies))
        for token, body in zip(tokens, bodies, strict=True):
            self.broker.publish(key, body, persistent=True, token=token)
        self.until(lambda: self.confirmed() >= set(tokens))

    def confirmed(self) -> set[int]:
        return {token for event in self.all(Confirmed) for token in event.tokens}

    def unconfirmed(self) -> set[int]:
        return {token for event in self.all(Unconfirmed) for token in event.tokens}

    def barrier(self) -> None:
        """Return once a message went through both connections: what was sent before has arrived."""
        queue = reply_queue("barrier", "p", str(next(_barriers)))
        self.consume(queue, auto_ack=True)
        self.broker.publish(queue.name, b"")
        self.deliveries(queue.name, 1)
        self.broker.leave(queue.name)


class Site(Protocol):
    """A place with one broker; `delete` and `depth` are what an operator does there."""

    def connect(self) -> Party: ...

    def delete(self, queue: str) -> None: ...

    def depth(self, queue: str) -> int: ...

    def close(self) -> None: ...


class MemorySite:
    def __init__(self) -> None:
        self._broker = MemoryBroker()
        self._parties: list[Party] = []

    def connect(self) -> Party:
        party = Party(self._broker.connect(), self._parties)
        party.await_event(Opened)
        return party

    def delete(self, queue: str) -> None:
        self._broker.delete(queue)

    def depth(self, queue: str) -> int:
        return self._broker.depth(queue)

    def close(self) -> None:
        return


class RabbitSite:
    def __init__(self, url: str) -> None:
        self._url = url
        self._parties: list[Party] = []

    def connect(self) -> Party:
        party = Party(RabbitBroker(self._url), self._parties)
        party.await_event(Opened)
        return party

    def delete(self, queue: str) -> None:
        with pika.BlockingConnection(pika.URLParameters(self._url)) as connection:
            connection.channel().queue_delete(queue)

    def depth(self, queue: str) -> int:
        with pika.BlockingConnection(pika.URLParameters(self._url)) as connection:
            declared = connection.channel().queue_declare(queue, passive=True)
            return int(declared.method.message_count)

    def close(self) -> None:
        for party in list(self._parties):
            party.close()
