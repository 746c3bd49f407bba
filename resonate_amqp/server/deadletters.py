"""Dead letters: requests that cannot be read or applied, put aside with their reason.

A request is acknowledged only when the broker has confirmed the copy; until then the copy is
sent again, every second, so that nothing is lost where the dead-letter queue is missing.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable

from resonate_amqp.ports import Broker, Delivery
from resonate_amqp.wire.address import DEAD, EXCHANGE
from resonate_amqp.wire.envelope import encode_dead

log = logging.getLogger(__name__)

AGAIN_MS = 1_000


class DeadLetters:
    """The requests put aside whose copy the broker has not confirmed yet."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._tokens = itertools.count(1)
        self._open: dict[int, tuple[Delivery, str]] = {}
        self._refused: set[int] = set()
        self._again_at = 0

    def add(self, delivery: Delivery, reason: str) -> None:
        log.error("dead-lettered a message of %s: %s", delivery.queue, reason)
        token = next(self._tokens)
        self._open[token] = (delivery, reason)
        self._send([token])

    def confirmed(self, tokens: Iterable[int]) -> None:
        self._broker.ack([self._open.pop(token)[0] for token in tokens if token in self._open])

    def unconfirmed(self, tokens: Iterable[int], clock: int) -> None:
        """The broker did not take these copies; `clock` is monotonic ms."""
        refused = self._open.keys() & set(tokens)
        if refused:
            self._refused |= refused
            self._again_at = clock + AGAIN_MS

    def oversized(self, tokens: Iterable[int]) -> None:
        """The broker takes no copy as large as these: the log alone keeps their reason."""
        lost = [self._open.pop(token)[0] for token in tokens if token in self._open]
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

    def _send(self, tokens: Iterable[int]) -> None:
        for token in tokens:
            delivery, reason = self._open[token]
            body = encode_dead(delivery.body, reason, delivery.queue)
            self._broker.publish(
                DEAD, body, exchange=EXCHANGE, persistent=True, mandatory=True, token=token
            )
