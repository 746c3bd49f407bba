"""Health: whether this ledger should hold its queue, told by a probe it sends to itself.

The broker tells nobody which consumer is the active one: a ledger learns it by its first
delivery, so each sends a probe to its queue every second. A probe that is not confirmed says that
nothing of ours gets out: whoever cannot answer must not hold the queue.
"""

from __future__ import annotations

import itertools
import logging

from resonate_amqp.ports import (
    Blocked,
    Broker,
    Confirmed,
    ConsumerLost,
    Consuming,
    Delivery,
    Event,
    Opened,
)
from resonate_amqp.server.intake import PROBE

log = logging.getLogger(__name__)

PROBE_EVERY_MS = 1_000
UNFIT_AFTER_MS = 5_000

# Beyond every serial of an outbox row and every token of a dead letter.
_FIRST_TOKEN = 1 << 62


class Health:
    """The probe of one ledger queue; instants are monotonic milliseconds."""

    def __init__(self, broker: Broker, queue: str, clock: int) -> None:
        self._broker = broker
        self._queue = queue
        self._tokens = itertools.count(_FIRST_TOKEN)
        self._turned_at = clock
        self._probe_at = clock
        self._connected = False
        self._blocked = False
        self._consuming_at: int | None = None
        self._quiet = True
        self._unconfirmed_since: int | None = None

    @property
    def consuming(self) -> bool:
        """Whether the queue is consumed now; what is delivered otherwise is of an earlier time."""
        return self._consuming_at is not None

    @property
    def probe_at(self) -> int:
        """When the next probe is due."""
        return self._probe_at

    def heed(self, event: Event, clock: int) -> None:
        """Take in what happened."""
        match event:
            case Opened():
                self._connected = True
                self._unconfirmed_since = None
                self._probe_at = clock
            case Consuming():
                self._consuming_at = clock
                self._quiet = True
                self._probe_at = clock
            case ConsumerLost():
                self.left()
            case Delivery():
                self._quiet = False
            case Confirmed(tokens=tokens) if any(token >= _FIRST_TOKEN for token in tokens):
                self._unconfirmed_since = None
                self._say_standing_by(clock)
            case Blocked(blocked=blocked):
                self._blocked = blocked
                self._unconfirmed_since = None
                self._probe_at = clock
            case _:
                pass

    def turn(self, clock: int) -> None:
        """Send the probe when it is due."""
        if clock - self._turned_at > UNFIT_AFTER_MS and self._unconfirmed_since is not None:
            # It was us who heard nothing.
            self._unconfirmed_since = clock
        self._turned_at = clock
        if clock < self._probe_at or not self._connected:
            return
        self._probe_at = clock + PROBE_EVERY_MS
        if not self._blocked:
            if self._unconfirmed_since is None:
                self._unconfirmed_since = clock
            self._broker.publish(self._queue, PROBE, token=next(self._tokens))

    def fit(self, clock: int) -> bool:
        """Whether what this ledger says gets out, as far as it can know."""
        since = self._unconfirmed_since
        return since is None or clock - since < UNFIT_AFTER_MS

    def left(self) -> None:
        """The queue is not consumed any more."""
        self._consuming_at = None

    def _say_standing_by(self, clock: int) -> None:
        since = self._consuming_at
        # Long enough for a probe to come back to whoever is the active consumer.
        if self._quiet and since is not None and clock - since >= PROBE_EVERY_MS:
            log.info("standing by: another ledger takes what comes to %s", self._queue)
            self._quiet = False
