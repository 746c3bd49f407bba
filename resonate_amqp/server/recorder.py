"""Recorder: one transaction with everything that is ready, then everything that follows it.

Replies, unblocks and executes are sent, and deliveries acknowledged, only after the commit.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from resonate_amqp.core.batch import Backlog, Batch, Outcome
from resonate_amqp.core.requests import Query, Response
from resonate_amqp.core.timers import Timer
from resonate_amqp.errors import LedgerUnavailable, Superseded
from resonate_amqp.ports import (
    Broker,
    Clock,
    Confirmed,
    Delivery,
    Failpoint,
    Failpoints,
    Inspected,
    Ledger,
    Random,
    Unconfirmed,
)
from resonate_amqp.server.backstop import Backstop
from resonate_amqp.server.intake import Asked, Intake, Load
from resonate_amqp.server.mirrors import Mirrors
from resonate_amqp.server.outbox import Outbox
from resonate_amqp.server.post import Post
from resonate_amqp.server.queries import answered
from resonate_amqp.server.shards import Shards
from resonate_amqp.server.terms import Terms
from resonate_amqp.server.transfers import Transfers
from resonate_amqp.server.watch import Watch
from resonate_amqp.server.windows import committed
from resonate_amqp.wire.envelope import (
    Replies,
    encode_bad_reply,
    encode_reply,
    encode_unblock,
)

log = logging.getLogger(__name__)

MOST_TIMERS = 1_000
TIDY_AFTER_MS = 500
POISON_AGAIN_MS = 30_000


class Recorder:
    """What a promoted ledger does in a turn; `clear` forgets all of it."""

    def __init__(
        self,
        ledger: Ledger,
        broker: Broker,
        clock: Clock,
        random: Random,
        failpoints: Failpoints,
        terms: Terms,
        shards: Shards,
        address: str,
    ) -> None:
        self._ledger = ledger
        self._broker = broker
        self._clock = clock
        self._failpoints = failpoints
        self._shards = shards
        self._intake = Intake()
        self._outbox = Outbox(broker, random, terms.queue_type, terms.declare, address)
        self._backstop = Backstop(broker, terms.backstop_ms, terms.hold_max_ms)
        self._mirrors = Mirrors(broker, random, address)
        self._watch = Watch()
        self._post = Post()
        self._transfers = Transfers(broker)
        self._refused: list[tuple[Delivery, str]] = []
        self._notified: list[tuple[str, str]] = []
        self._now = 0
        self._now_read_at = 0
        self._heard_since = 0
        self._tidy_at = 0

    def __len__(self) -> int:
        """How many deliveries wait."""
        return len(self._intake)

    def take(self, event: Delivery | Confirmed | Unconfirmed | Inspected, clock: int) -> None:
        match event:
            case Delivery():
                self._intake.add(event)
            case Confirmed(tokens=tokens):
                self._outbox.confirmed(tokens)
                if self._outbox.has_confirmed():
                    self._failpoints.reach(Failpoint.OUTBOX_CONFIRMED)
                self._transfers.confirmed(tokens)
            case Unconfirmed(tokens=tokens, oversized=True):
                self._outbox.oversized(tokens)
                self._transfers.oversized(tokens)
            case Unconfirmed(tokens=tokens, unroutable=unroutable):
                self._outbox.unconfirmed(tokens, unroutable, clock)
                self._transfers.unconfirmed(tokens, clock)
            case Inspected(queue=queue, messages=messages):
                self._backstop.inspected(queue, messages, self.time())

    def begin(self, backlog: Backlog) -> None:
        """This ledger was promoted: publish what may not have been published."""
        self._read(backlog.now)
        self._heard_since = self.time()
        self._watch.restart(self._ledger, self.time())
        self._outbox.publish(backlog.executes, self.time())
        for unblock in backlog.unblocks:
            self._post.unblock(unblock.address, encode_unblock(unblock.promise))
            self._notified.append((unblock.promise.id, unblock.address))
        self._mirrors.add(backlog.mirrors, self._clock.monotonic())
        self._post.send(self._broker, self.time(), self._owners())
        self._failpoints.reach(Failpoint.PROMOTION_PUBLISHED)

    def clear(self) -> None:
        """Another ledger is responsible, or will load everything again."""
        self._intake.clear()
        self._outbox.clear()
        self._backstop.clear()
        self._mirrors.clear()
        self._notified = []
        self._transfers.clear()
        self._refused.clear()

    def reconnected(self, clock: int) -> None:
        """Only publishing was interrupted: what was not confirmed is published again."""
        self._outbox.resend_all(clock)
        self._transfers.resend_all()

    def deaf_until_now(self) -> None:
        """Nobody could be heard until now, so no lease that ran out meanwhile is lost."""
        self._heard_since = self.time()

    def to_resend_dead(self, clock: int) -> bool:
        return self._transfers.to_resend(clock)

    def resend_dead(self) -> None:
        self._transfers.resend()

    def _read(self, now: int) -> None:
        self._now = max(self._now, now)
        self._now_read_at = self._clock.monotonic()

    def time(self) -> int:
        """Wall clock, but never behind what this ledger gave out before."""
        elapsed = self._clock.monotonic() - self._now_read_at
        return max(self._clock.now(), self._now + elapsed if self._now else 0)

    def idle_ms(self, clock: int) -> int:
        """How long there is nothing to do, if nothing happens."""
        if len(self._intake) or self._outbox.urgent():
            return 0
        waits = [self._watch.next_at() - self.time(), self._backstop.due_at() - clock]
        if self._notified or self._outbox.has_confirmed():
            waits.append((self._tidy_at or clock + TIDY_AFTER_MS) - clock)
        due = (self._outbox.next_due(), self._mirrors.next_due())
        waits.extend(at - clock for at in due if at is not None)
        return min(waits)

    def turn(self, clock: int) -> None:
        """Record what is ready and send what follows.

        What the broker confirmed and which listeners were told travels with the next requests,
        or alone after half a second. Raises LedgerUnavailable or Superseded: then nothing of the
        turn was sent.
        """
        self._outbox.resend_due(clock, self.time())
        self._backstop.look(self._ledger, clock, self.time())
        self._mirrors.ask(clock)
        load = self._intake.take()
        passed_on = self._shards.pass_on(load)
        for replies in load.replies:
            self._hear(replies, clock)
        for delivery, queue in load.elsewhere:
            self._transfers.pass_on(delivery, queue)
        asked = [one for one in load.asked if one.group.query is None]
        asked += load.reports
        timers = self._watch.take_due(self._ledger, self.time(), MOST_TIMERS)
        timers += self._backstop.take()
        # Whoever passes on proves that it still may: two that err would do nothing else for ever.
        if passed_on or asked or timers or self._urgent() or self._tidying_due(clock):
            loose = self._loose(timers)
            try:
                self._answer(asked, self._apply(asked, loose))
            except (LedgerUnavailable, Superseded):
                raise
            except Exception:
                log.exception("a batch of %d groups failed; running them one by one", len(asked))
                self._one_by_one(load, asked, loose)
        self._answer_queries(load)
        self._finish(load)

    def _hear(self, replies: Replies, clock: int) -> None:
        """Anybody can write to this queue: an answer that makes no sense must not stop it."""
        try:
            self._mirrors.take(replies, clock)
        except Exception:
            log.exception("answers that cannot be used were dropped")

    def _owners(self) -> tuple[int, ...]:
        """What clients need to know of the shards: nothing while there is one queue."""
        return self._shards.owners if self._shards.divided else ()

    def _urgent(self) -> bool:
        return self._mirrors.waiting() or self._outbox.urgent()

    def _tidying_due(self, clock: int) -> bool:
        if not (self._notified or self._outbox.has_confirmed()):
            return False
        if not self._tidy_at:
            self._tidy_at = clock + TIDY_AFTER_MS
        return clock >= self._tidy_at

    def _loose(self, timers: Sequence[Timer]) -> Batch:
        """What travels with the requests although nobody asked for it."""
        notified, self._notified = self._notified, []
        self._tidy_at = 0
        return Batch(
            timers=timers,
            confirmed=self._outbox.take_confirmed(),
            notified=notified,
            mirrored=self._mirrors.outcomes(),
            halts=self._outbox.take_unsendable(),
            heard_since=self._heard_since,
        )

    def _apply(self, asked: Sequence[Asked], loose: Batch) -> Outcome:
        batch = replace(loose, groups=[one.group for one in asked])
        outcome = self._ledger.apply(batch, self.time())
        if self._failpoints.armed:
            for place in committed(asked, outcome):
                self._failpoints.reach(place)
        self._read(outcome.now)
        return outcome

    def _answer(self, asked: Sequence[Asked], outcome: Outcome) -> None:
        for one, responses in zip(asked, outcome.answers, strict=True):
            if one.is_report:
                self._hear_of(one, responses[0])
            else:
                self._post.reply(one.reply_to, encode_reply(one.group, responses, None))
        for unblock in outcome.unblocks:
            self._post.unblock(unblock.address, encode_unblock(unblock.promise))
            self._notified.append((unblock.promise.id, unblock.address))
        if outcome.mirrors:
            self._failpoints.reach(Failpoint.MIRROR_WRITTEN)
            self._mirrors.add(outcome.mirrors, self._clock.monotonic())
            self._mirrors.ask(self._clock.monotonic())
        self._watch.add(outcome.timers)
        self._backstop.taken(outcome.taken)
        self._outbox.void(outcome.void)
        self._outbox.publish(outcome.executes, outcome.now)

    def _hear_of(self, one: Asked, response: Response) -> None:
        """A reply that settled nothing is put aside, unless it did so when it came before."""
        if not (response.ok or (response.applied and one.delivery.redelivered)):
            self._refused.append((one.delivery, response.error))

    def _answer_queries(self, load: Load) -> None:
        for one in load.asked:
            query = one.group.query
            if query is not None:
                self._post.reply(one.reply_to, self._answer_query(one, query))

    def _answer_query(self, one: Asked, query: Query) -> bytes:
        try:
            return answered(self._ledger, one.group, query)
        except (LedgerUnavailable, Superseded):
            raise
        except Exception as error:
            log.exception("the query %r cannot be answered", query)
            return encode_bad_reply(one.group.id, query.kind, 500, _failed_on(error))

    def _one_by_one(self, load: Load, asked: Sequence[Asked], loose: Batch) -> None:
        """Run everything alone; what fails then although the database answers is poison."""
        for piece in loose.pieces():
            try:
                self._answer([], self._apply([], piece))
            except (LedgerUnavailable, Superseded):
                raise
            except Exception:
                log.exception("%r cannot be applied", piece)
                later = self.time() + POISON_AGAIN_MS
                self._watch.add(replace(timer, at=later) for timer in piece.timers)
        for one in asked:
            try:
                self._answer([one], self._apply([one], Batch(heard_since=self._heard_since)))
            except (LedgerUnavailable, Superseded):
                raise
            except Exception as error:
                log.exception("group %s cannot be applied", one.group.id)
                kind = one.group.steps[0].kind
                reason = _failed_on(error)
                if one.is_report:
                    self._refused.append((one.delivery, reason))
                    continue
                reply = encode_bad_reply(one.group.id, kind, 500, reason)
                self._post.reply(one.reply_to, reply)
                if one.delivery in load.deliveries:
                    load.deliveries.remove(one.delivery)
                    load.dead.append((one.delivery, reason))

    def _finish(self, load: Load) -> None:
        """Send everything the turn has to say, then let go of the deliveries."""
        for group, reply_to in load.bad:
            self._post.reply(reply_to, encode_bad_reply(group.id, group.kind, 400, group.error))
        self._post.send(self._broker, self.time(), self._owners())
        if load.asked:
            self._failpoints.reach(Failpoint.BATCH_PUBLISHED)
        refused, self._refused = self._refused, []
        aside = {id(delivery) for delivery, _ in refused}
        told = [one.delivery for one in load.reports if id(one.delivery) not in aside]
        self._broker.ack(load.deliveries + told)
        for delivery, reason in (*load.dead, *refused):
            self._transfers.bury(delivery, reason)


def _failed_on(error: Exception) -> str:
    return f"the ledger failed on it: {type(error).__name__}: {error}"
