"""LedgerReader: what a database holds, for one who only looks.

It needs no broker, takes no lock and never becomes the writer: a ledger, or the process of an
embedded system, may be at work on the same database.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError

from resonate_amqp.core.model import Promise, Task, TaskState, origin_of
from resonate_amqp.core.pages import START, standing
from resonate_amqp.core.requests import PromiseSearch, TaskSearch
from resonate_amqp.errors import UsageError
from resonate_amqp.ledgers import listings, schema
from resonate_amqp.ledgers.database import connect, parse, shown, unavailable
from resonate_amqp.ledgers.tables import ledger_queues

EVERYTHING = 2**62


class LedgerReader:
    """The records in the database behind `url`, as they are to be seen now.

    Raises UsageError when there is no such file, SchemaError when it holds no ledger of this
    release, LedgerUnavailable when it cannot be read.
    """

    def __init__(self, url: str) -> None:
        parsed = parse(url)
        path = Path((parsed.database or "").removeprefix("file:"))
        if parsed.get_backend_name() == "sqlite" and not path.exists():
            raise UsageError(f"ledger {shown(url)}: there is no file {str(path)!r}")
        schema.check(url)
        self._url = url
        self._connection = connect(url, reading=True)

    def tree(self, promise_id: str) -> list[tuple[Promise, Task | None]]:
        """The promises of the tree an id belongs to, oldest first; empty when there is none."""
        with self._reading() as (connection, now):
            return listings.tree(connection, now, origin_of(promise_id), EVERYTHING, START)

    def tasks(
        self, states: Sequence[TaskState], older_s: float, limit: int
    ) -> list[tuple[Promise, Task]]:
        """The first `limit` tasks in these states, longest first in each state.

        Pending ones and leases count only if they are `older_s` seconds old.
        """
        with self._reading() as (connection, now):
            before = now - round(older_s * 1000)
            query = TaskSearch(states=tuple(states), before=before, limit=limit)
            found = [
                (promise, task)
                for queue in _queues(connection)
                for promise, task in listings.search(connection, queue, now, query)
                if task is not None
            ]
        return sorted(found, key=lambda pair: standing(states, *pair))[:limit]

    def tagged(self, name: str, value: str, limit: int) -> list[Promise]:
        """The first `limit` promises that have a tag with this value, the oldest first."""
        with self._reading() as (connection, now):
            query = PromiseSearch(name=name, value=value, limit=limit)
            found = [
                promise
                for queue in _queues(connection)
                for promise, _ in listings.tagged(connection, queue, now, query)
            ]
        return sorted(found, key=lambda promise: (promise.created_at, promise.id))[:limit]

    def promise(self, promise_id: str) -> tuple[Promise, Task | None]:
        """A promise with its task; raises UsageError when there is none."""
        with self._reading() as (connection, now):
            found = listings.one(connection, now, promise_id)
        if found is None:
            raise UsageError(f"promise {promise_id!r} does not exist")
        return found

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()
        self._connection.engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[tuple[Connection, int]]:
        """A transaction that only reads, and the instant (epoch ms) at which it looks."""
        try:
            with self._connection.begin():
                last = self._connection.execute(select(func.max(ledger_queues.c.now))).scalar()
                # The time of a ledger never goes back, whatever the clock of this machine says.
                yield self._connection, max(last or 0, time.time_ns() // 1_000_000)
        except SQLAlchemyError as error:
            raise unavailable(self._url, error) from error


def _queues(connection: Connection) -> list[int]:
    return list(connection.execute(select(ledger_queues.c.queue)).scalars())
