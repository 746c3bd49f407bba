"""Transfers: messages that go on elsewhere, to another ledger's queue or to the dead letters.

A delivery is acknowledged only when the broker has confirmed its copy; until then the copy is
sent again, every second, so that nothing is lost where the queue is missing.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from resonate_amqp.ports import Broker, Delivery
from resonate_amqp.server.foreign import passed_on
from resonate_amqp.wire.address import DEAD, EXCHANGE
from resonate_amqp.wire.envelope import encode_dead
from resonate_amqp.wire.properties import PLAIN

log = logging.getLogger(__name__)

AGAIN_MS = 1_000


@dataclass(frozen=True, slots=True)
class _Copy:
    delivery: Delivery
    exchange: str
    key: str
    reason: str = ""


class Transfers:
    """The deliveries whose copy the broker has not confirmed yet."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._tokens = itertools.count(1)
        self._open: dict[int, _Copy] = {}
        self._refused: set[int] = set()
        self._again_at = 0

    def bury(self, delivery: Delivery, reason: str) -> None:
        """Put what cannot be read or applied aside, with its reason."""
        # A callee that was killed after it answered answers again: nothing is wrong with that.
        level = logging.WARNING if delivery.correlation_id else logging.ERROR
        log.log(level, "dead-lettered a message of %s: %s", delivery.queue, reason)
        self._add(_Copy(delivery, EXCHANGE, DEAD, reason))

    def pass_on(self, delivery: Delivery, queue: str) -> None:
        """Send a reply to the ledger that keeps its promise: whoever sent it will not repeat it."""
        self._add(_Copy(delivery, "", queue))

    def confirmed(self, tokens: Iterable[int]) -> None:
        done = [self._open.pop(token).delivery for token in tokens if token in self._open]
        self._broker.ack(done)

    def unconfirmed(self, tokens: Iterable[int], clock: int) -> None:
        """The broker did not take these copies; `clock` is monotonic ms."""
        refused = self._open.keys() & set(tokens)
        if refused:
            self._refused |= refused
            self._again_at = clock + AGAIN_MS

    def oversized(self, tokens: Iterable[int]) -> None:
        """The broker takes no copy as large as these: the log alone keeps their reason."""
        lost = [self._open.pop(token).delivery for token in tokens if token in self._open]
        for delivery in lost:
            log.error("a message of %s is too large for the dead-letter queue", delivery.queue)
        self._broker.ack(lost)

    def to_resend(self, clock: int) -> bool:
        """Whether copies are to be sent again now."""
        return bool(self._refused) and clock >= self._again_at

    def resend(self) -> None:
        refused, self._refused = self._refused, set()
        self._send(sorted(refused))

    def resend_all(self) -> None:
        """A new connection: nothing sent on the old one will be confirmed."""
        self._refused.clear()
        self._send(list(self._open))

    def clear(self) -> None:
        """The deliveries are void: they come again, to whoever takes them."""
        self._open.clear()
        self._refused.clear()

    def _add(self, copy: _Copy) -> None:
        token = next(self._tokens)
        self._open[token] = copy
        self._send([token])

    def _send(self, tokens: Iterable[int]) -> None:
        for token in tokens:
            copy = self._open[token]
            delivery = copy.delivery
            if copy.reason:
                body, properties = encode_dead(delivery.body, copy.reason, delivery.queue), PLAIN
            else:
                body, properties = delivery.body, passed_on(delivery)
            self._broker.publish(
                copy.key,
                body,
                exchange=copy.exchange,
                persistent=True,
                mandatory=True,
                token=token,
                properties=properties,
            )
