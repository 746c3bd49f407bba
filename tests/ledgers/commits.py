"""A database in which everything works but COMMIT, as on a disk that fails when it is synced."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, event

from resonate_amqp.ledgers.sql import SqlLedger


@contextmanager
def commits_fail(ledger: SqlLedger) -> Iterator[None]:
    """Refuse every COMMIT of a ledger on SQLite, on connections it opens meanwhile too."""
    failing = True

    def authorise(action: int, operation: str | None, *_: object) -> int:
        refused = failing and action == sqlite3.SQLITE_TRANSACTION and operation == "COMMIT"
        return sqlite3.SQLITE_DENY if refused else sqlite3.SQLITE_OK

    def watch(connection: object, _record: object = None) -> None:
        assert isinstance(connection, sqlite3.Connection)
        connection.set_authorizer(authorise)

    watch(ledger._connection.connection.driver_connection)
    event.listen(Engine, "connect", watch)
    yield
    event.remove(Engine, "connect", watch)
    failing = False
