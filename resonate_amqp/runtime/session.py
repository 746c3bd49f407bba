"""Session: one process's conversation with the ledger.

It owns the reply queue, the open groups and the registrations, and is driven by `turn` on one
thread. Other threads hand it work by `post`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, assert_never

from resonate_amqp.errors import BrokerError, ForeignVersion, Malformed
from resonate_amqp.ports import (
    Blocked,
    Broker,
    Clock,
    Confirmed,
    ConsumerLost,
    Consuming,
    Delivery,
    Disconnected,
    Event,
    Inspected,
    Opened,
    Random,
    Refused,
    Unconfirmed,
)
from resonate_amqp.runtime.alarms import Alarm, Alarms
from resonate_amqp.runtime.calls import Calls, Trouble
from resonate_amqp.runtime.listeners import Listeners
from resonate_amqp.runtime.silence import Silence
from resonate_amqp.runtime.unserved import Unserved
from resonate_amqp.wire.envelope import decode_replies
from resonate_amqp.wire.topology import Queue, reply_queue

log = logging.getLogger(__name__)

T = TypeVar("T")

TTL_LEASE_MS = 60_000
IDLE_MS = 1_000
CONSUME_AGAIN_MS = 1_000
REROUTE_MS = 500


class Consumer(Protocol):
    """Who takes what is not a reply: the worker."""

    def take(self, event: Event) -> None: ...

    def flush(self) -> None:
        """Bring the turn's work to an end: hand groups to `Calls`."""
        ...


class Session:
    """Every method but `post` is called from the thread that polls the broker."""

    def __init__(
        self,
        broker: Broker,
        clock: Clock,
        random: Random,
        *,
        group: str,
        pid: str,
        ttl_ms: int = TTL_LEASE_MS,
    ) -> None:
        """`ttl_ms` is how long a lease without a delivery outlives the holder's last word."""
        self.group = group
        self.pid = pid
        self.ttl_ms = ttl_ms
        self.broker = broker
        self.clock = clock
        self.random = random
        self.alarms = Alarms()
        self.calls = Calls(broker, clock, random, self.alarms)
        self.listeners = Listeners(self.calls, clock, self.alarms)
        self.unserved = Unserved(broker, clock, self.alarms)
        self._silence = Silence(clock)
        self._posts: deque[Callable[[], None]] = deque()
        self._woken = False
        self._consumer: Consumer | None = None
        self._reply_queue: Queue | None = None
        self._epoch = 0
        self._ledger_ahead_ms = 0
        self.ledger_level = 0
        """What the ledger understands, as far as its last message tells; see `envelope.LEVEL`."""
        self.synchronised = False
        self._rerouting = Alarm(lambda: None)
        self._rerouting.cancel()

    def attach(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def post(self, action: Callable[[], None]) -> None:
        """Run `action` on the session's thread, soon; from any thread."""
        self._posts.append(action)
        if not self._woken:
            self._woken = True
            self.broker.wake()

    def now(self) -> int:
        """The ledger's time (epoch ms) as far as its last message tells."""
        return self.clock.now() + self._ledger_ahead_ms

    def later(self, delay_ms: int, action: Callable[[], None], *, routine: bool = False) -> Alarm:
        """Do something on the session's thread after a delay; for `routine` see `Alarm`."""
        return self.alarms.at(self.clock.monotonic() + delay_ms, action, routine=routine)

    def turn(self, events: Sequence[Event]) -> None:
        """Take in what happened, do what is due, then send everything there is to send."""
        for event in events:
            self._take(event)
        self._woken = False
        while self._posts:
            self._posts.popleft()()
        self.alarms.fire_due(self.clock.monotonic())
        if self._consumer is not None:
            self._consumer.flush()
        self.calls.flush()
        if self.broker.connected():
            self._silence.look(len(self.calls), self.calls.trouble.unroutable)

    def consume(
        self, queue: Queue, *, prefetch: int, auto_ack: bool = False, passive: bool = False
    ) -> None:
        """Consume a queue; it is told when the broker does not confirm that."""
        if self.broker.connected():
            self._silence.asked(queue.name)
        self.broker.consume(queue, prefetch=prefetch, auto_ack=auto_ack, passive=passive)

    def cancel(self, queue: str) -> None:
        """Consume a queue no more."""
        self._silence.ended(queue)
        self.broker.cancel(queue)

    def idle_ms(self) -> int:
        """How long the next poll may wait for events."""
        if self._posts:
            return 0
        due = self.alarms.next_at()
        return IDLE_MS if due is None else max(0, min(IDLE_MS, due - self.clock.monotonic()))

    def _take(self, event: Event) -> None:
        self._listen(event)
        match event:
            case Delivery(queue=queue) if queue == self._reply_name():
                self._replies(event)
                return
            case Opened(epoch=epoch):
                self._opened(epoch)
            case Consuming(queue=queue) if queue == self._reply_name():
                self.calls.readdress(queue)
                self.listeners.ask_all()
            case ConsumerLost(queue=queue) if queue == self._reply_name():
                self._reply_queue = None
                self.calls.readdress("")
                self.later(CONSUME_AGAIN_MS, self._consume_replies)
            case Disconnected(reason=reason, refused=refused):
                self.calls.trouble.disconnected = reason
                if refused:
                    self.calls.fail_all(BrokerError(f"{reason}; check the broker's url"))
            case Blocked(blocked=blocked):
                self.calls.trouble.disconnected = "the broker blocks publishers" if blocked else ""
                if not blocked:
                    self.calls.repeat_all()
            case Unconfirmed(unroutable=unroutable) if unroutable:
                self.calls.trouble.unroutable = f"not routable: {unroutable}"
                if not self._rerouting.pending:
                    self._rerouting = self.later(REROUTE_MS, self.calls.repeat_all)
            case (
                Delivery() | Consuming() | ConsumerLost() | Refused() | Confirmed() | Unconfirmed()
            ):
                pass
            case Inspected():
                self.unserved.inspected(event)
            case _:
                assert_never(event)
        if self._consumer is not None:
            self._consumer.take(event)

    def _listen(self, event: Event) -> None:
        match event:
            case Consuming(queue=queue):
                self._silence.consuming(queue)
            case ConsumerLost(queue=queue):
                self._silence.ended(queue)
            case Refused(queue=queue, reason=reason):
                self._silence.refused(queue, reason)
            case Disconnected():
                self._silence.disconnected()
            case _:
                pass

    def _opened(self, epoch: int) -> None:
        self.calls.trouble = Trouble(disconnected="")
        if epoch == self._epoch and self._reply_queue is not None:
            self.calls.repeat_all()
            return
        self._epoch = epoch
        self._reply_queue = None
        self._consume_replies()

    def _consume_replies(self) -> None:
        if self._reply_queue is None:
            self._reply_queue = reply_queue(self.group, self.pid, self.random.token())
            self.consume(self._reply_queue, prefetch=0, auto_ack=True)

    def _reply_name(self) -> str:
        return self._reply_queue.name if self._reply_queue is not None else ""

    def _replies(self, delivery: Delivery) -> None:
        try:
            message = decode_replies(delivery.body)
        except ForeignVersion as error:
            self._foreign(error)
            return
        except (Malformed, LookupError, TypeError, ValueError, AttributeError) as error:
            log.error("a reply that cannot be read was dropped: %s", error)
            return
        self._ledger_ahead_ms = message.now - self.clock.now()
        self.ledger_level = message.level
        self.calls.trouble.foreign = ""
        self.synchronised = True
        self._silence.heard()
        if message.owners:
            self.calls.owners = message.owners
        for reply in message.replies:
            self._guarded(self.calls.take, reply)
        for promise in message.unblocked:
            self._guarded(self.listeners.take, promise)

    def _foreign(self, error: ForeignVersion) -> None:
        """The ledger speaks another version: said once, and to those who wait in vain."""
        if self.calls.trouble.foreign != str(error):
            self.calls.trouble.foreign = str(error)
            log.error("the ledger's answers are dropped: %s", error)

    def _guarded(self, take: Callable[[T], None], what: T) -> None:
        """One answer that makes no sense must not cost the others, nor this process."""
        try:
            take(what)
        except Exception:
            log.exception("an answer of the ledger could not be used: %r", what)
