"""SqlLedger: promises and tasks in SQLite or PostgreSQL, one transaction a batch.

Power-safe as shipped: SQLite runs in WAL mode with `synchronous=FULL`. The first statement of
every transaction both proves that this ledger is still the one writer of its queue and gives the
batch its time; a rival's promotion waits for it or makes it find no row.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, update
from sqlalchemy.exc import DBAPIError, IntegrityError, ResourceClosedError

from resonate_amqp.core import machine
from resonate_amqp.core.batch import Backlog, Batch, Execute, Outcome, Unblock
from resonate_amqp.core.effects import Limits, Overlay
from resonate_amqp.core.model import Schedule
from resonate_amqp.core.pages import START, Cursor
from resonate_amqp.core.requests import PromiseSearch, Query, TaskSearch, footprint
from resonate_amqp.core.timers import Timer, restarted, timers_of, timers_of_schedule
from resonate_amqp.errors import LedgerUnavailable, Superseded
from resonate_amqp.ledgers import listings, schedules
from resonate_amqp.ledgers.database import connect, evict, poisonous, shown, unavailable
from resonate_amqp.ledgers.outcome import outcome_of
from resonate_amqp.ledgers.queries import (
    BEGIN_BATCH,
    DUE_LEASES,
    DUE_PROMISES,
    DUE_RETRIES,
    MIRRORS,
    OWNERS,
    PROMOTE,
    UNDELIVERED,
    UNFINISHED,
    UNNOTIFIED,
)
from resonate_amqp.ledgers.records import Records
from resonate_amqp.ledgers.store import store
from resonate_amqp.ledgers.tables import ledger_queues, promise_of, task_of

NEVER_PROMOTED = -1


def serials(generation: int, queue: int) -> Iterator[int]:
    """Serials of outbox rows that no other promotion, of whatever queue, gives out."""
    return itertools.count((generation << 40) + (queue << 32) + 1)


class SqlLedger:
    """The ledger of one queue, in the database behind `url` (a SQLAlchemy URL).

    The schema must be there (`ledgers.schema`). Raises LedgerUnavailable when the database
    cannot be opened.
    """

    def __init__(self, url: str, *, queue: int = 0, limits: Limits | None = None) -> None:
        self._url = url
        self._queue = queue
        self._limits = limits or Limits()
        self._generation = NEVER_PROMOTED
        self._now = 0
        self._serials: Iterator[int] = itertools.count(1)
        self._open(connect(url))

    def promote(self, clock: int) -> Backlog:
        with self._transaction() as connection:
            row = connection.execute(PROMOTE, {"of": self._queue, "clock": clock}).one()
        self._generation = row[0]
        self._serials = serials(self._generation, self._queue)
        self._records.forget()
        own = {"of": self._queue}
        with self._transaction(clock) as connection:
            executes = tuple(
                Execute(row["serial"], row["target"], promise_of(row), row["offered_version"], True)
                for row in connection.execute(UNDELIVERED, own).mappings()
            )
            unblocks = tuple(
                Unblock(row["address"], promise_of(row))
                for row in connection.execute(UNNOTIFIED, own).mappings()
            )
            pending = tuple(promise_of(row) for row in connection.execute(MIRRORS, own).mappings())
            owners = tuple(row[0] for row in connection.execute(OWNERS))
        return Backlog(executes, unblocks, pending, owners, self._now)

    def apply(self, batch: Batch, clock: int) -> Outcome:
        with self._transaction(clock) as connection:
            self._records.load(_ids(batch))
            state = self._overlay()
            answers, early = machine.batch(
                state,
                batch.groups,
                batch.timers,
                batch.notified,
                batch.mirrored,
                batch.halts,
                self._now,
                batch.heard_since,
            )
            store(connection, self._records, state, batch.confirmed)
            outcome = outcome_of(state, answers, early, self._now)
        self._records.keep(state)
        return outcome

    def restart(self, clock: int) -> Outcome:
        with self._transaction(clock) as connection:
            state = self._overlay()
            unfinished = [row[0] for row in connection.execute(UNFINISHED, {"of": self._queue})]
            self._records.load(unfinished)
            for task_id in sorted(unfinished):
                restarted(state, task_id, self._now)
            store(connection, self._records, state, ())
            outcome = outcome_of(state, (), [], self._now)
        self._records.keep(state)
        return outcome

    def due_before(self, horizon: int, limit: int) -> list[Timer]:
        bound = {"horizon": horizon, "most": limit, "of": self._queue}
        timers: list[Timer] = []
        with self._transaction(begin="BEGIN") as connection:
            for row in connection.execute(DUE_PROMISES, bound).mappings():
                timers.extend(timers_of(promise_of(row), None))
            for statement in (DUE_LEASES, DUE_RETRIES):
                for row in connection.execute(statement, bound).mappings():
                    timers.extend(timers_of(None, task_of(row)))
            for schedule in schedules.due(connection, bound):
                timers.extend(timers_of_schedule(schedule))
        return sorted(timers)[:limit]

    def tree(self, origin: str, limit: int, cursor: Cursor = START) -> listings.Listed:
        with self._transaction(begin="BEGIN") as connection:
            return listings.tree(connection, self._now, origin, limit, cursor)

    def search(self, query: TaskSearch) -> listings.Listed:
        with self._transaction(begin="BEGIN") as connection:
            return listings.search(connection, self._queue, self._now, query)

    def tagged(self, query: PromiseSearch) -> listings.Listed:
        with self._transaction(begin="BEGIN") as connection:
            return listings.tagged(connection, self._queue, self._now, query)

    def timetable(self, limit: int, cursor: Cursor = START) -> list[Schedule]:
        with self._transaction(begin="BEGIN") as connection:
            return schedules.timetable(connection, self._queue, limit, cursor)

    def trial(self) -> None:
        self._reopen()
        with self._transaction() as connection:
            evict(connection)
            connection.execute(
                update(ledger_queues)
                .where(ledger_queues.c.queue == self._queue)
                .values(now=ledger_queues.c.now)
            )

    def close(self) -> None:
        self._connection.close()
        self._connection.engine.dispose()

    def _overlay(self) -> Overlay:
        return Overlay(self._records, self._serials, self._limits)

    def _open(self, connection: Connection) -> None:
        self._connection = connection
        self._records = Records(connection)

    def _reopen(self) -> None:
        try:
            self.close()
        except DBAPIError:
            self._connection.invalidate()
        self._open(connect(self._url))

    @contextmanager
    def _transaction(
        self, clock: int | None = None, begin: str = "BEGIN IMMEDIATE"
    ) -> Iterator[Connection]:
        """A transaction; with a clock, one that proves the generation and gives the time.

        Whatever fails inside it, the loaded records are forgotten: after a commit of unknown
        outcome only the database knows.
        """
        try:
            options: dict[str, Any] = {"sqlite_begin": begin}
            with self._connection.execution_options(**options).begin():
                if clock is not None:
                    self._prove(clock)
                yield self._connection
        except ResourceClosedError as error:
            self._records.forget()
            raise unavailable(self._url, error) from error
        except IntegrityError as error:
            self._records.forget()
            raise _contested(self._url, error) from error
        except DBAPIError as error:
            self._records.forget()
            if poisonous(error):
                raise
            raise unavailable(self._url, error) from error
        except BaseException:
            self._records.forget()
            raise

    def _prove(self, clock: int) -> None:
        held = {"of": self._queue, "by": self._generation, "clock": clock}
        row = self._connection.execute(BEGIN_BATCH, held).first()
        if row is None:
            raise Superseded(
                f"ledger queue {self._queue} of {shown(self._url)} was taken over by another "
                f"ledger (generation {self._generation} is past); this one stands by"
            )
        self._now = row[0]


def _ids(batch: Batch) -> Iterator[str]:
    for group in batch.groups:
        for request in group.steps:
            if not isinstance(request, Query):
                yield from footprint(request)
    for timer in batch.timers:
        yield timer.id
    for promise_id, _ in batch.notified:
        yield promise_id
    for one in batch.mirrored:
        yield one.id
    for halt in batch.halts:
        yield halt.id


def _contested(url: str, error: IntegrityError) -> LedgerUnavailable:
    return LedgerUnavailable(
        f"ledger {shown(url)}: a row appeared that nobody else may write: {error.orig}"
    )
