"""Dead letters: deliveries that cannot be read, put aside with their reason.

The delivery is acknowledged only when the broker has confirmed the copy.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable

from resonate_amqp.ports import Broker, Delivery
from resonate_amqp.wire.address import DEAD, EXCHANGE
from resonate_amqp.wire.envelope import encode_dead

log = logging.getLogger(__name__)


class DeadLetters:
    """Deliveries whose copy the broker has not confirmed yet."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._tokens = itertools.count(1)
        self._open: dict[int, Delivery] = {}

    def add(self, delivery: Delivery, reason: str) -> None:
        log.error("dead-lettered a message of %s: %s", delivery.queue, reason)
        token = next(self._tokens)
        self._open[token] = delivery
        body = encode_dead(delivery.body, reason, delivery.queue)
        self._broker.publish(DEAD, body, exchange=EXCHANGE, persistent=True, token=token)

    def confirmed(self, tokens: Iterable[int]) -> None:
        done = [self._open.pop(token) for token in tokens if token in self._open]
        self._broker.ack(done)

    def unconfirmed(self, tokens: Iterable[int]) -> None:
        """The copy was not taken: the delivery goes back and comes again."""
        for token in tokens:
            delivery = self._open.pop(token, None)
            if delivery is not None:
                self._broker.give_back(delivery)
