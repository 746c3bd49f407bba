"""Silence: when to speak of something that does not answer, so that a log tells it and no more."""

from __future__ import annotations

import logging
from collections import defaultdict

from resonate_amqp.ports import Clock

log = logging.getLogger(__name__)

PATIENCE_MS = 10_000
AGAIN_MS = 60_000


class Outage:
    """Something that may be down: worth a line when it begins, one a minute, and one at its end."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told_at: int | None = None

    def tells(self) -> bool:
        """It is down: whether that is to be said now."""
        now = self._clock.monotonic()
        if self._told_at is not None and now - self._told_at < AGAIN_MS:
            return False
        self._told_at = now
        return True

    def over(self) -> bool:
        """It works: whether it had been said that it does not."""
        told, self._told_at = self._told_at is not None, None
        return told


class Silence:
    """Watches a conversation: requests that nobody answers, consumers that nobody confirms.

    Only while there is a connection; one that is missing is told by the broker's adapter.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ledger = Outage(clock)
        self._open_since: int | None = None
        self._asked: dict[str, int] = {}
        self._consumed: set[str] = set()
        self._lacking: dict[str, Outage] = defaultdict(lambda: Outage(clock))

    def heard(self) -> None:
        """The ledger answered."""
        self._open_since = None
        if self._ledger.over():
            log.info("the ledger answers again")

    def asked(self, queue: str) -> None:
        """The broker was asked for a consumer; one that is there is not confirmed again."""
        if queue not in self._consumed:
            self._asked.setdefault(queue, self._clock.monotonic())

    def consuming(self, queue: str) -> None:
        """The consumer is there."""
        self._consumed.add(queue)
        self._asked.pop(queue, None)
        lacking = self._lacking.pop(queue, None)
        if lacking is not None and lacking.over():
            log.info("%s is consumed now", queue)

    def refused(self, queue: str, reason: str) -> None:
        """The broker does not let us have the consumer."""
        self.ended(queue)
        if self._lacking[queue].tells():
            log.error("the broker refuses %s: %s", queue, reason)

    def ended(self, queue: str) -> None:
        """The consumer is lost, refused or not wanted any more."""
        self._consumed.discard(queue)
        self._asked.pop(queue, None)

    def disconnected(self) -> None:
        """Nothing can be heard; whatever was asked for is asked for again."""
        self._open_since = None
        self._asked.clear()

    def look(self, unanswered: int, unroutable: str) -> None:
        """Say what has been waited for too long; `unanswered` requests are under way."""
        now = self._clock.monotonic()
        if not unanswered:
            self._open_since = None
        elif self._open_since is None:
            self._open_since = now
        elif now - self._open_since >= PATIENCE_MS and self._ledger.tells():
            reason = f"no ledger has ever run here ({unroutable})" if unroutable else "none answers"
            log.warning(
                "%d requests to the ledger wait for %d s already: %s; check that "
                "`resonate-amqp ledger serve` runs",
                unanswered,
                (now - self._open_since) // 1000,
                reason,
            )
        for queue, since in self._asked.items():
            if now - since >= PATIENCE_MS and self._lacking[queue].tells():
                log.warning(
                    "the broker has not confirmed a consumer of %s for %d s; check the queue: "
                    "a quorum queue needs a majority of its nodes",
                    queue,
                    (now - since) // 1000,
                )
