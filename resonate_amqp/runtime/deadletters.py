"""Dead letters: messages that cannot be read or executed, put aside with their reason.

A delivery is acknowledged only when the broker has confirmed the copy.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from resonate_amqp.ports import Delivery
from resonate_amqp.runtime.session import Session
from resonate_amqp.wire.address import DEAD, EXCHANGE
from resonate_amqp.wire.envelope import encode_dead

log = logging.getLogger(__name__)


AGAIN_MS = 1_000


@dataclass(frozen=True, slots=True)
class Dead:
    """A message put aside, and what is done once its copy is confirmed.

    `queue` is the one it came from; `held` tells that it is a delivery of ours, which is lost with
    its channel.
    """

    body: bytes
    reason: str
    queue: str
    done: Callable[[], None]
    held: bool = False


class DeadLetters:
    """Messages whose copy the broker has not confirmed yet."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._tokens = itertools.count(1)
        self._open: dict[int, Dead] = {}

    def add(self, delivery: Delivery, reason: str) -> None:
        """Put a delivery aside, and acknowledge it then."""
        acked = partial(self._session.broker.ack, [delivery])
        self.put(Dead(delivery.body, reason, delivery.queue, acked, held=True))

    def put(self, dead: Dead) -> None:
        """Put a message aside."""
        log.error("dead-lettered a message of %s: %s", dead.queue, dead.reason)
        token = next(self._tokens)
        self._open[token] = dead
        self._send(token)

    def confirmed(self, tokens: Iterable[int]) -> None:
        for token in tokens:
            if token in self._open:
                self._open.pop(token).done()

    def unconfirmed(self, tokens: Iterable[int]) -> None:
        """The copies were not taken: they are sent again, and the originals kept meanwhile."""
        for token in tokens:
            if token in self._open:
                self._session.later(AGAIN_MS, partial(self._send, token))

    def lost(self, queue: str) -> None:
        """The deliveries of a queue are void: they come again, to whoever takes them."""
        kept = {
            t: dead for t, dead in self._open.items() if not (dead.held and dead.queue == queue)
        }
        self._open = kept

    def _send(self, token: int) -> None:
        if token in self._open:
            dead = self._open[token]
            body = encode_dead(dead.body, dead.reason, dead.queue)
            self._session.broker.publish(
                DEAD, body, exchange=EXCHANGE, persistent=True, mandatory=True, token=token
            )
