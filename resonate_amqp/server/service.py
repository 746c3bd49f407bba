"""LedgerService: the one loop that records promises.

Each turn takes every request that is ready, applies them in one transaction, and only after the
commit sends what follows and acknowledges. A ledger that is not promoted, or cannot use its
database, takes nothing: the messages wait in the queue for one that can.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import assert_never

from resonate_amqp.core.model import SHARDS
from resonate_amqp.errors import LedgerUnavailable, Superseded
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
    Failpoints,
    Inspected,
    Ledger,
    Opened,
    Random,
    Refused,
    Unconfirmed,
)
from resonate_amqp.server.health import Health
from resonate_amqp.server.recorder import Recorder
from resonate_amqp.server.shards import Shards
from resonate_amqp.server.terms import Terms
from resonate_amqp.wire.topology import ledger_objects, ledger_queue

log = logging.getLogger(__name__)

RETRY_EVERY_MS = 1_000
DEAF_AFTER_MS = 5_000
PREFETCH = 1_000
IDLE_MS = 1_000


class LedgerService:
    """Serves one ledger queue; every method is called from the thread that polls its broker.

    `owners` tells which queue keeps each shard, as far as it is known; `learned` is told whenever
    a promotion reads it again.
    """

    def __init__(
        self,
        ledger: Ledger,
        broker: Broker,
        clock: Clock,
        random: Random,
        failpoints: Failpoints,
        *,
        queue: int = 0,
        owners: tuple[int, ...] = (0,) * SHARDS,
        learned: Callable[[tuple[int, ...]], None] = lambda _owners: None,
        terms: Terms | None = None,
    ) -> None:
        self._terms = terms or Terms()
        self._ledger = ledger
        self._broker = broker
        self._clock = clock
        self._number = queue
        self._queue = ledger_queue(queue)
        self._shards = Shards(broker, queue, owners)
        self._learned = learned
        self._recorder = Recorder(
            ledger, broker, clock, random, failpoints, self._terms, self._shards, self._queue.name
        )
        self._promoted = False
        self._epoch = 0
        self._turned_at = clock.monotonic()
        self._health = Health(broker, self._queue.name, clock.monotonic())
        self._retry_at: int | None = None

    @property
    def promoted(self) -> bool:
        """Whether this ledger answers requests now."""
        return self._promoted

    def turn(self, events: Sequence[Event]) -> None:
        """Take in what happened, then record and send what is ready."""
        clock = self._clock.monotonic()
        if clock - self._turned_at > DEAF_AFTER_MS:
            self._recorder.deaf_until_now()
        self._turned_at = clock
        for event in events:
            self._health.heed(event, clock)
            if not isinstance(event, Delivery) or self._health.consuming:
                self._take(event, clock)
        if self._retry_at is not None and clock >= self._retry_at:
            self._try_again(clock)
        self._health.turn(clock)
        if self._health.consuming and not self._health.fit(clock):
            log.error("nothing this ledger publishes is confirmed: another one may take over")
            self._leave()
        if not self._broker.connected():
            return
        if self._recorder.to_resend_dead(clock):
            self._declare_all()
            self._recorder.resend_dead()
        try:
            if len(self._recorder) and not self._promoted and self._retry_at is None:
                self._promote()
            if self._promoted:
                self._recorder.turn(clock)
        except (LedgerUnavailable, Superseded) as error:
            self._database_failed(error)

    def idle_ms(self) -> int:
        """How long the next poll may wait for events."""
        if not self._broker.connected():
            return IDLE_MS
        clock = self._clock.monotonic()
        waits = [IDLE_MS, self._health.probe_at - clock]
        if self._promoted:
            waits.append(self._recorder.idle_ms(clock))
        return max(0, min(waits))

    def stop(self) -> None:
        """Take no more; what was not answered goes back to the queue with the connection."""
        self._broker.leave(self._queue.name)
        self._stand_by()

    def _take(self, event: Event, clock: int) -> None:
        match event:
            case Delivery() | Confirmed() | Unconfirmed() | Inspected():
                self._recorder.take(event, clock)
            case Opened(epoch=epoch):
                self._opened(epoch, clock)
            case Consuming(queue=queue):
                log.info("consuming %s", queue)
            case ConsumerLost(queue=queue, reason=reason):
                log.warning("lost the consumer of %s: %s", queue, reason)
                self._stand_by()
                self._retry_at = clock + RETRY_EVERY_MS
            case Refused(queue=queue, reason=reason):
                log.error("the broker refuses %s: %s", queue, reason)
                self._retry_at = clock + RETRY_EVERY_MS
            case Disconnected(reason=reason):
                log.warning("the broker is gone: %s", reason)
            case Blocked(blocked=blocked):
                if not blocked:
                    self._recorder.deaf_until_now()
            case _:
                assert_never(event)

    def _opened(self, epoch: int, clock: int) -> None:
        self._recorder.deaf_until_now()
        self._declare_all()
        if epoch != self._epoch:
            self._epoch = epoch
            self._stand_by()
            if self._retry_at is None:
                self._consume()
            else:
                self._retry_at = clock
        else:
            self._recorder.reconnected(clock)

    def _declare_all(self) -> None:
        things = ledger_objects(self._number, self._shards.own())
        self._broker.declare(*things, passive=not self._terms.declare)

    def _consume(self) -> None:
        """Take requests, from a queue that is bound by then for its own shards and no other."""
        queue = ledger_queue(self._number, self._shards.own())
        self._broker.consume(queue, prefetch=PREFETCH)

    def _promote(self) -> None:
        backlog = self._ledger.promote(self._recorder.time())
        self._promoted = True
        log.info(
            "promoted; %d executes and %d unblocks to publish again",
            len(backlog.executes),
            len(backlog.unblocks),
        )
        if backlog.owners != self._shards.owners:
            self._shards.owners = backlog.owners
            self._declare_all()
        self._learned(backlog.owners)
        self._recorder.begin(backlog)

    def _database_failed(self, error: Exception) -> None:
        """Give every message back and stop taking, so that another ledger can be elected."""
        if isinstance(error, Superseded):
            log.warning("%s", error)
        else:
            log.error("%s; trying again every second", error)
        self._leave()

    def _leave(self) -> None:
        self._broker.leave(self._queue.name)
        self._health.left()
        self._stand_by()
        self._retry_at = self._clock.monotonic() + RETRY_EVERY_MS

    def _try_again(self, clock: int) -> None:
        self._retry_at = clock + RETRY_EVERY_MS
        if self._health.fit(clock):
            with contextlib.suppress(LedgerUnavailable):
                self._ledger.trial()
                self._retry_at = None
                self._consume()

    def _stand_by(self) -> None:
        self._promoted = False
        self._recorder.clear()
