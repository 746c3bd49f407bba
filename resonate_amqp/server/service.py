"""LedgerService: the one loop that records promises.

Each turn takes every request that is ready, applies them in one transaction, and only after the
commit sends what follows and acknowledges. A ledger that is not promoted, or cannot use its
database, takes nothing: the messages wait in the queue for one that can.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from resonate_amqp.core.requests import OriginGet, Response
from resonate_amqp.core.timers import Timer
from resonate_amqp.errors import LedgerUnavailable, Superseded
from resonate_amqp.ports import (
    Batch,
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
    Ledger,
    Opened,
    Outcome,
    Random,
    Refused,
    Unconfirmed,
)
from resonate_amqp.server.deadletters import DeadLetters
from resonate_amqp.server.intake import PROBE, Asked, Intake, Load
from resonate_amqp.server.outbox import Outbox
from resonate_amqp.server.post import Post
from resonate_amqp.server.watch import Watch
from resonate_amqp.wire.envelope import (
    encode_bad_reply,
    encode_reply,
    encode_unblock,
)
from resonate_amqp.wire.topology import ledger_objects, ledger_queue

log = logging.getLogger(__name__)

PROBE_EVERY_MS = 1_000
RETRY_EVERY_MS = 1_000
DEAF_AFTER_MS = 5_000
PREFETCH = 1_000
MOST_TIMERS = 1_000
IDLE_MS = 1_000
TIDY_AFTER_MS = 500


class LedgerService:
    """Serves one ledger queue; every method is called from the thread that polls its broker."""

    def __init__(
        self,
        ledger: Ledger,
        broker: Broker,
        clock: Clock,
        random: Random,
        failpoints: Failpoints,
        *,
        queue: int = 0,
        queue_type: str = "quorum",
        declare: bool = True,
    ) -> None:
        self._ledger = ledger
        self._broker = broker
        self._clock = clock
        self._failpoints = failpoints
        self._number = queue
        self._queue = ledger_queue(queue)
        self._declare = declare
        self._intake = Intake()
        self._outbox = Outbox(broker, random, queue_type)
        self._watch = Watch()
        self._post = Post()
        self._notified: list[tuple[str, str]] = []
        self._dead = DeadLetters(broker)
        self._promoted = False
        self._epoch = 0
        self._now = 0
        self._now_read_at = 0
        self._heard_since = 0
        self._turned_at = clock.monotonic()
        self._probe_at = 0
        self._retry_at: int | None = None
        self._tidy_at = 0

    @property
    def promoted(self) -> bool:
        """Whether this ledger answers requests now."""
        return self._promoted

    def turn(self, events: Sequence[Event]) -> None:
        """Take in what happened, then record and send what is ready."""
        clock = self._clock.monotonic()
        if clock - self._turned_at > DEAF_AFTER_MS:
            self._deaf_until_now()
        self._turned_at = clock
        for event in events:
            self._take(event, clock)
        if self._retry_at is not None and clock >= self._retry_at:
            self._try_database(clock)
        if clock >= self._probe_at and self._epoch:
            self._probe_at = clock + PROBE_EVERY_MS
            self._broker.publish(self._queue.name, PROBE)
        if not self._broker.connected():
            return
        if len(self._intake) and not self._promoted and self._retry_at is None:
            self._promote()
        if self._dead.to_resend(clock):
            self._declare_all()
            self._dead.resend()
        if self._promoted:
            self._outbox.resend_due(clock, self._time())
            self._record(clock)

    def idle_ms(self) -> int:
        """How long the next poll may wait for events."""
        if not self._broker.connected():
            return IDLE_MS
        clock = self._clock.monotonic()
        waits = [IDLE_MS, self._probe_at - clock]
        if self._promoted:
            if len(self._intake):
                return 0
            waits.append(self._watch.next_at() - self._time())
            if self._notified or self._outbox.has_confirmed():
                waits.append((self._tidy_at or clock + TIDY_AFTER_MS) - clock)
            resend_at = self._outbox.next_due()
            if resend_at is not None:
                waits.append(resend_at - clock)
        return max(0, min(waits))

    def stop(self) -> None:
        """Take no more; what was not answered goes back to the queue with the connection."""
        self._broker.leave(self._queue.name)
        self._stand_by()

    def _take(self, event: Event, clock: int) -> None:
        match event:
            case Delivery():
                self._intake.add(event)
            case Opened(epoch=epoch):
                self._opened(epoch, clock)
            case Consuming(queue=queue):
                log.info("consuming %s", queue)
                self._probe_at = clock
            case ConsumerLost(queue=queue, reason=reason):
                log.warning("lost the consumer of %s: %s", queue, reason)
                self._stand_by()
                self._retry_at = clock + RETRY_EVERY_MS
            case Refused(queue=queue, reason=reason):
                log.error("the broker refuses %s: %s", queue, reason)
                self._retry_at = clock + RETRY_EVERY_MS
            case Disconnected(reason=reason):
                log.warning("the broker is gone: %s", reason)
            case Confirmed(tokens=tokens):
                self._outbox.confirmed(tokens)
                self._dead.confirmed(tokens)
            case Unconfirmed(tokens=tokens, unroutable=unroutable):
                self._outbox.unconfirmed(tokens, unroutable, clock)
                self._dead.unconfirmed(tokens, clock)
            case Blocked(blocked=blocked):
                if not blocked:
                    self._deaf_until_now()
            case _:
                assert_never(event)

    def _opened(self, epoch: int, clock: int) -> None:
        self._deaf_until_now()
        self._declare_all()
        if epoch != self._epoch:
            self._epoch = epoch
            self._retry_at = None
            self._stand_by()
            self._consume()
        else:
            self._outbox.resend_all(clock)
            self._dead.resend_all()

    def _declare_all(self) -> None:
        self._broker.declare(*ledger_objects(self._number), passive=not self._declare)

    def _consume(self) -> None:
        self._broker.consume(self._queue, prefetch=PREFETCH)

    def _promote(self) -> None:
        try:
            backlog = self._ledger.promote(self._time())
            self._promoted = True
            self._heard_since = self._time()
            self._watch.restart(self._ledger, self._time())
        except (LedgerUnavailable, Superseded) as error:
            self._database_failed(error)
            return
        log.info(
            "promoted; %d executes and %d unblocks to publish again",
            len(backlog.executes),
            len(backlog.unblocks),
        )
        self._outbox.publish(backlog.executes, self._time(), repeat=True)
        for unblock in backlog.unblocks:
            self._post.unblock(unblock.address, encode_unblock(unblock.promise))
            self._notified.append((unblock.promise.id, unblock.address))
        self._post.send(self._broker, self._time())
        self._failpoints.reach("promotion.published")

    def _record(self, clock: int) -> None:
        """One transaction, if there is anything to record; then everything that follows it.

        What the broker confirmed and which listeners were told travels with the next requests,
        or alone after half a second.
        """
        load = self._intake.take()
        asked = [one for one in load.asked if not isinstance(one.group.steps[0], OriginGet)]
        timers: list[Timer] = []
        confirmed: list[int] = []
        try:
            timers = self._watch.take_due(self._ledger, self._time(), MOST_TIMERS)
            if asked or timers or self._tidying_due(clock):
                confirmed = self._outbox.take_confirmed()
                self._answer(asked, self._apply(asked, timers, confirmed))
            self._answer_trees(load)
        except (LedgerUnavailable, Superseded) as error:
            self._database_failed(error)
            return
        except Exception:
            log.exception("a batch of %d groups failed; running them one by one", len(asked))
            self._outbox.give_back(confirmed)
            later = self._time() + RETRY_EVERY_MS
            self._watch.add(replace(timer, at=later) for timer in timers)
            if not self._one_by_one(load, asked):
                return
        self._finish(load)

    def _tidying_due(self, clock: int) -> bool:
        if not (self._notified or self._outbox.has_confirmed()):
            return False
        if not self._tidy_at:
            self._tidy_at = clock + TIDY_AFTER_MS
        return clock >= self._tidy_at

    def _apply(
        self, asked: Sequence[Asked], timers: Sequence[Timer], confirmed: Sequence[int]
    ) -> Outcome:
        batch = Batch(
            groups=[one.group for one in asked],
            timers=timers,
            confirmed=confirmed,
            notified=self._notified,
            heard_since=self._heard_since,
        )
        outcome = self._ledger.apply(batch, self._time())
        self._failpoints.reach("batch.committed")
        self._notified = []
        self._tidy_at = 0
        self._now = max(self._now, outcome.now)
        self._now_read_at = self._clock.monotonic()
        return outcome

    def _answer(self, asked: Sequence[Asked], outcome: Outcome) -> None:
        for one, responses in zip(asked, outcome.answers, strict=True):
            self._post.reply(one.reply_to, encode_reply(one.group, responses, None))
        for unblock in outcome.unblocks:
            self._post.unblock(unblock.address, encode_unblock(unblock.promise))
            self._notified.append((unblock.promise.id, unblock.address))
        self._watch.add(outcome.timers)
        self._outbox.void(outcome.void)
        self._outbox.publish(outcome.executes, outcome.now)

    def _answer_trees(self, load: Load) -> None:
        for one in load.asked:
            query = one.group.steps[0]
            if isinstance(query, OriginGet):
                self._post.reply(one.reply_to, self._answer_tree(one, query))

    def _answer_tree(self, one: Asked, query: OriginGet) -> bytes:
        try:
            tree = self._ledger.tree(query.id, query.limit)
            return encode_reply(one.group, [Response(status=200)], tree)
        except (LedgerUnavailable, Superseded):
            raise
        except Exception as error:
            log.exception("the tree of %s cannot be read", query.id)
            return encode_bad_reply(one.group.id, query.kind, 500, _failed_on(error))

    def _one_by_one(self, load: Load, asked: Sequence[Asked]) -> bool:
        """Run each group alone; the one that fails although the database answers is poison."""
        for one in asked:
            try:
                self._answer([one], self._apply([one], (), ()))
            except (LedgerUnavailable, Superseded) as error:
                self._database_failed(error)
                return False
            except Exception as error:
                log.exception("group %s cannot be applied", one.group.id)
                kind = one.group.steps[0].kind
                reason = _failed_on(error)
                reply = encode_bad_reply(one.group.id, kind, 500, reason)
                self._post.reply(one.reply_to, reply)
                if one.delivery in load.deliveries:
                    load.deliveries.remove(one.delivery)
                    load.dead.append((one.delivery, reason))
        return True

    def _finish(self, load: Load) -> None:
        """Send everything the turn has to say, then let go of the deliveries."""
        for group, reply_to in load.bad:
            self._post.reply(reply_to, encode_bad_reply(group.id, group.kind, 400, group.error))
        self._post.send(self._broker, self._time())
        self._failpoints.reach("batch.published")
        self._broker.ack(load.deliveries)
        for delivery, reason in load.dead:
            self._dead.add(delivery, reason)

    def _database_failed(self, error: Exception) -> None:
        """Give every message back and stop taking, so that another ledger can be elected."""
        if isinstance(error, Superseded):
            log.warning("%s", error)
        else:
            log.error("%s; trying again every second", error)
        self._broker.leave(self._queue.name)
        self._stand_by()
        self._retry_at = self._clock.monotonic() + RETRY_EVERY_MS

    def _try_database(self, clock: int) -> None:
        self._retry_at = None
        try:
            self._ledger.trial()
        except LedgerUnavailable:
            self._retry_at = clock + RETRY_EVERY_MS
            return
        self._consume()

    def _stand_by(self) -> None:
        self._promoted = False
        self._intake.clear()
        self._outbox.clear()
        self._notified = []
        self._dead.clear()

    def _deaf_until_now(self) -> None:
        self._heard_since = self._time()

    def _time(self) -> int:
        """Wall clock, but never behind what this ledger gave out before."""
        elapsed = self._clock.monotonic() - self._now_read_at
        return max(self._clock.now(), self._now + elapsed if self._now else 0)


def _failed_on(error: Exception) -> str:
    return f"the ledger failed on it: {type(error).__name__}: {error}"
