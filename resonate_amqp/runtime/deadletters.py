"""Dead letters: deliveries that cannot be read, put aside with their reason.

The delivery is acknowledged only when the broker has confirmed the copy.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable
from functools import partial

from resonate_amqp.ports import Delivery
from resonate_amqp.runtime.session import Session
from resonate_amqp.wire.address import DEAD, EXCHANGE
from resonate_amqp.wire.envelope import encode_dead

log = logging.getLogger(__name__)


AGAIN_MS = 1_000


class DeadLetters:
    """Deliveries whose copy the broker has not confirmed yet."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._tokens = itertools.count(1)
        self._open: dict[int, tuple[Delivery, str]] = {}

    def add(self, delivery: Delivery, reason: str) -> None:
        log.error("dead-lettered a message of %s: %s", delivery.queue, reason)
        token = next(self._tokens)
        self._open[token] = (delivery, reason)
        self._send(token)

    def confirmed(self, tokens: Iterable[int]) -> None:
        done = [self._open.pop(token)[0] for token in tokens if token in self._open]
        self._session.broker.ack(done)

    def unconfirmed(self, tokens: Iterable[int]) -> None:
        """The copies were not taken: they are sent again, and the deliveries kept meanwhile."""
        for token in tokens:
            if token in self._open:
                self._session.later(AGAIN_MS, partial(self._send, token))

    def lost(self, queue: str) -> None:
        """The deliveries of a queue are void: they come again, to whoever takes them."""
        kept = {t: entry for t, entry in self._open.items() if entry[0].queue != queue}
        self._open = kept

    def _send(self, token: int) -> None:
        if token in self._open:
            delivery, reason = self._open[token]
            body = encode_dead(delivery.body, reason, delivery.queue)
            self._session.broker.publish(
                DEAD, body, exchange=EXCHANGE, persistent=True, mandatory=True, token=token
            )
