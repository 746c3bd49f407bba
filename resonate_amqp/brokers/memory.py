"""MemoryBroker: a broker inside the process, with the semantics of RabbitMQ that we rely on.

Queues are FIFO; a delivery that is given back, or whose connection is cut, comes first again and is
flagged. `Faults` decide what happens to a publish, and `cut` loses a connection.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from resonate_amqp.brokers.faults import Fate, Faults
from resonate_amqp.brokers.queues import Consumer, Handle, Message, Waiting
from resonate_amqp.ports import (
    Confirmed,
    ConsumerLost,
    Consuming,
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

Returned = Callable[[], Sequence[Handle]]


class MemoryBroker:
    """The broker itself; `connect` gives what a worker or a ledger service holds."""

    def __init__(
        self, faults: Faults | None = None, *, reroute: Mapping[str, str] | None = None
    ) -> None:
        """`reroute` maps a prefix of queue names to the one queue that stands for all of them."""
        self.faults = faults
        self._reroute = reroute or {}
        self._lock = threading.RLock()
        self._queues: dict[str, Waiting] = {}
        self._exchanges: dict[str, dict[str, set[str]]] = {}
        self._delayed: list[tuple[str, Message]] = []

    def connect(self) -> MemoryConnection:
        return MemoryConnection(self)

    def depth(self, queue: str) -> int:
        """How many messages wait in the queue, deliveries under way not counted."""
        return self.state(queue)[0] or 0

    def state(self, queue: str) -> tuple[int | None, int | None]:
        """How many messages wait in the queue, and how many consumers it has; None: no queue."""
        with self._lock:
            found = self._queues.get(queue)
            return (None, None) if found is None else (len(found.waiting), len(found.consumers))

    def bodies(self, queue: str) -> list[bytes]:
        """The waiting messages of a queue, first in first."""
        return [message.body for message in self._queues[queue].waiting]

    def queues(self) -> list[str]:
        return sorted(self._queues)

    def release(self) -> None:
        """Deliver what was delayed."""
        with self._lock:
            delayed, self._delayed = self._delayed, []
            for queue, message in delayed:
                self._enqueue(queue, message)

    def declare(self, thing: Queue | Exchange, owner: MemoryConnection, passive: bool) -> bool:
        with self._lock:
            if isinstance(thing, Exchange):
                if passive:
                    return thing.name in self._exchanges
                self._exchanges.setdefault(thing.name, {})
                return True
            if thing.name not in self._queues:
                if passive:
                    return False
                self._queues[thing.name] = Waiting(thing, owner if thing.exclusive else None)
            for exchange, key in thing.bindings:
                self._exchanges[exchange].setdefault(key, set()).add(thing.name)
            for exchange, key in thing.unbound:
                self._exchanges[exchange].get(key, set()).discard(thing.name)
            return True

    def subscribe(self, queue: str, consumer: Consumer) -> None:
        with self._lock:
            self._queues[queue].consumers.append(consumer)
            self._dispatch(queue)

    def limit(self, queue: str, connection: MemoryConnection, prefetch: int) -> None:
        """Change how many deliveries a connection's consumer may leave unacknowledged."""
        with self._lock:
            for consumer in self._queues[queue].consumers:
                if consumer.connection is connection:
                    consumer.prefetch = prefetch
            self._dispatch(queue)

    def unsubscribe(
        self, queue: str, connection: MemoryConnection, returned: Returned = tuple
    ) -> None:
        """End a connection's consumer; what it returns comes first again, in its old order.

        `returned` is asked once nothing more is dispatched to the connection.
        """
        with self._lock:
            if queue in self._queues:
                self._end_consumer(queue, connection)
                for handle in reversed(returned()):
                    self.settle(handle, requeue=True, lost=True)
                self._dispatch(queue)

    def knows(self, exchange: str) -> bool:
        with self._lock:
            return not exchange or exchange in self._exchanges

    def route(self, exchange: str, key: str, message: Message, persistent: bool) -> bool:
        """Put a message where its key leads; false when no queue takes it."""
        with self._lock:
            if not exchange:
                key = next((to for head, to in self._reroute.items() if key.startswith(head)), key)
            names = self._exchanges.get(exchange, {}).get(key, set()) if exchange else {key}
            found = [name for name in sorted(names) if name in self._queues]
            for name in found:
                fate = self.faults(name, message.body, persistent) if self.faults else Fate.DELIVER
                if fate is Fate.DELAY:
                    self._delayed.append((name, message))
                for _ in range({Fate.DELIVER: 1, Fate.DUPLICATE: 2}.get(fate, 0)):
                    self._enqueue(name, message)
            return bool(found)

    def settle(self, handle: Handle, *, requeue: bool, lost: bool = False) -> None:
        with self._lock:
            handle.consumer.unacked -= 1
            queue = self._queues.get(handle.queue)
            if queue is None:
                return
            if requeue:
                count = handle.message.redeliveries + 1
                queue.waiting.appendleft(replace(handle.message, redeliveries=count))
            if not lost:
                self._dispatch(handle.queue)

    def delete(self, queue: str) -> None:
        """Delete a queue with its messages; its consumers are told."""
        with self._lock:
            gone = self._queues.pop(queue, None)
            if gone is not None:
                for consumer in gone.consumers:
                    consumer.connection.lose_consumer(queue, "the queue was deleted")

    def leave(self, connection: MemoryConnection, returned: Callable[[], Sequence[Handle]]) -> None:
        """Return a lost connection's deliveries and drop its exclusive queues."""
        with self._lock:
            touched = list(self._queues)
            for queue in touched:
                self._end_consumer(queue, connection)
            for handle in reversed(returned()):
                self.settle(handle, requeue=True, lost=True)
            for queue in touched:
                if self._queues[queue].owner is connection:
                    del self._queues[queue]
                else:
                    self._dispatch(queue)

    def _end_consumer(self, queue: str, connection: MemoryConnection) -> None:
        kept = [c for c in self._queues[queue].consumers if c.connection is not connection]
        self._queues[queue].consumers = kept

    def _enqueue(self, name: str, message: Message) -> None:
        if name in self._queues:
            self._queues[name].waiting.append(message)
            self._dispatch(name)

    def _dispatch(self, name: str) -> None:
        queue = self._queues[name]
        while queue.waiting:
            able = queue.consumers[:1] if queue.single_active else queue.consumers
            free = [c for c in able if c.auto_ack or c.prefetch == 0 or c.unacked < c.prefetch]
            if not free:
                return
            consumer = free[0]
            if not queue.single_active:
                queue.consumers.remove(consumer)
                queue.consumers.append(consumer)
            message = queue.waiting.popleft()
            handle = Handle(name, consumer, message)
            consumer.unacked += not consumer.auto_ack
            delivery = Delivery(
                queue=name,
                body=message.body,
                handle=None if consumer.auto_ack else handle,
                redelivered=message.redeliveries > 0,
                redeliveries=message.redeliveries,
                reply_to=message.reply_to,
                correlation_id=message.properties.correlation_id,
                headers=dict(message.properties.headers),
            )
            consumer.connection.push(delivery)


class MemoryConnection:
    """One process's access to a MemoryBroker; satisfies the port `Broker`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._ready = threading.Condition()
        self._events: deque[Event] = deque()
        self._unacked: dict[int, Handle] = {}
        self._consumed: list[str] = []
        self._epoch = 0
        self._open = False
        self._woken = False
        self._aborted = False
        self.reconnect()

    def poll(self, timeout_ms: int) -> list[Event]:
        if self._aborted:
            self.reconnect()
        with self._ready:
            if not self._events and not self._woken and timeout_ms > 0:
                self._ready.wait(timeout_ms / 1000)
            self._woken = False
            events = list(self._events)
            self._events.clear()
            return events

    def wake(self) -> None:
        with self._ready:
            self._woken = True
            self._ready.notify()

    def declare(self, *things: Queue | Exchange, passive: bool = False) -> None:
        for thing in things:
            if not self._broker.declare(thing, self, passive):
                self.push(Refused(thing.name, "it does not exist"))

    def inspect(self, queue: str) -> None:
        self.push(Inspected(queue, *self._broker.state(queue)))

    def consume(
        self, queue: Queue, *, prefetch: int, auto_ack: bool = False, passive: bool = False
    ) -> None:
        if not self._open:
            return
        if queue.name in self._consumed:
            self._broker.limit(queue.name, self, prefetch)
            return
        if not self._broker.declare(queue, self, passive):
            self.push(Refused(queue.name, "it does not exist"))
            return
        self._consumed.append(queue.name)
        self.push(Consuming(queue.name))
        self._broker.subscribe(queue.name, Consumer(self, prefetch, auto_ack))

    def cancel(self, queue: str) -> None:
        if queue in self._consumed:
            self._consumed.remove(queue)
            self._broker.unsubscribe(queue, self)

    def leave(self, queue: str) -> None:
        if queue in self._consumed:
            self._consumed.remove(queue)
        self._broker.unsubscribe(queue, self, lambda: self._let_go(queue))

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
        tokens = (token,) if token else ()
        if not self._open:
            if token:
                self.push(Unconfirmed(tokens))
            return
        if not self._broker.knows(exchange):
            self.push(Unconfirmed(tokens, "" if token else f"no exchange {exchange!r}"))
            return
        routed = self._broker.route(exchange, key, Message(body, reply_to, properties), persistent)
        if not routed and mandatory:
            self.push(Unconfirmed(tokens, key))
        elif token:
            self.push(Confirmed(tokens))

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._settle(delivery, requeue=False)

    def give_back(self, delivery: Delivery) -> None:
        self._settle(delivery, requeue=True)

    def connected(self) -> bool:
        return self._open

    def flush(self) -> None:
        return

    def abort(self) -> None:
        """Cut; the next poll finds it connected again."""
        self.cut()
        self._aborted = True

    def close(self) -> None:
        self._leave()

    def cut(self) -> None:
        """Lose the connection: deliveries go back, exclusive queues go, consumers end."""
        consumed = dict.fromkeys([*self._consumed, *(one.queue for one in self._unacked.values())])
        self._leave()
        self.push(Disconnected("the connection was cut"))
        for queue in consumed:
            self.push(ConsumerLost(queue, "the connection was cut"))

    def reconnect(self) -> None:
        """Come back after `cut`, with a new epoch."""
        self._aborted = False
        self._open = True
        self._epoch += 1
        self.push(Opened(self._epoch))

    def lose_consumer(self, queue: str, reason: str) -> None:
        if queue in self._consumed:
            self._consumed.remove(queue)
        self.push(ConsumerLost(queue, reason))

    def push(self, event: Event) -> None:
        with self._ready:
            if isinstance(event, Delivery) and event.handle is not None:
                self._unacked[id(event.handle)] = event.handle
            self._events.append(event)
            self._ready.notify()

    def _settle(self, delivery: Delivery, *, requeue: bool) -> None:
        with self._ready:
            handle = self._unacked.pop(id(delivery.handle), None)
        if handle is not None:
            self._broker.settle(handle, requeue=requeue)

    def _leave(self) -> None:
        self._consumed.clear()
        self._open = False
        self._broker.leave(self, self._let_go)

    def _let_go(self, queue: str | None = None) -> list[Handle]:
        """Forget the deliveries of one queue, or of all; answers those to be returned."""
        with self._ready:
            mine = [h for h in self._unacked.values() if queue in (None, h.queue)]
            for handle in mine:
                del self._unacked[id(handle)]
            self._events = deque(
                event
                for event in self._events
                if not (isinstance(event, Delivery) and queue in (None, event.queue))
            )
        return mine
