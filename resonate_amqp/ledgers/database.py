"""Opening a ledger's database: the settings that make a commit survive a power cut."""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    NoSuchModuleError,
    ProgrammingError,
    SQLAlchemyError,
)

from resonate_amqp.errors import LedgerUnavailable, UsageError

_FORMS = "write sqlite:///FILE or postgresql://USER@HOST/NAME"

BUSY_S = 5

# PostgreSQL's classes "data exception" and "program limit exceeded".
_DATA_STATES = ("22", "54")


def parse(url: str) -> URL:
    """The url with its driver; raises UsageError for anything but SQLite and PostgreSQL."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise UsageError(f"ledger {url!r} is not a database url; {_FORMS}") from None
    if parsed.drivername == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise UsageError(f"ledger {url!r} names no file; {_FORMS}")
        return parsed
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername == "postgresql+psycopg":
        return parsed
    raise UsageError(f"ledger {shown(url)}: {parsed.drivername} is not supported; {_FORMS}")


def shown(url: str) -> str:
    """The url as it may be logged, without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "<unreadable url>"


def engine(url: str, *, patient: bool = False, reading: bool = False) -> Engine:
    """An engine whose commits are durable when they return; connects to nothing yet.

    A `patient` one lets a statement take any time, as a migration may. One for `reading` writes
    nothing to a SQLite file, its journal mode included, and takes no lock that a writer waits for.
    Errors do not show what was to be stored: they reach callers whose neighbours' values these are.
    """
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite":
        made = create_engine(
            parsed,
            connect_args={"check_same_thread": False, "timeout": BUSY_S},
            execution_options={"sqlite_begin": "BEGIN"} if reading else {},
            hide_parameters=True,
        )
        event.listen(made, "connect", _prepare_reading if reading else _prepare_sqlite)
        event.listen(made, "begin", _begin_immediate)
        return made
    try:
        from resonate_amqp.ledgers import postgres

        made = create_engine(
            parsed,
            isolation_level="READ COMMITTED",
            connect_args=postgres.arguments(parsed.query, patient=patient),
            execution_options={"postgresql_readonly": True} if reading else {},
            hide_parameters=True,
        )
    except (NoSuchModuleError, ImportError):
        raise UsageError(
            f"ledger {shown(url)} needs psycopg: pip install 'resonate-amqp[postgres]'"
        ) from None
    if not patient:
        event.listen(made, "do_connect", postgres.connect)
    return made


def connect(url: str, *, patient: bool = False, reading: bool = False) -> Connection:
    """One connection, kept for as long as its owner lives; raises LedgerUnavailable."""
    try:
        return engine(url, patient=patient, reading=reading).connect()
    except SQLAlchemyError as error:
        raise unavailable(url, error) from error


def unavailable(url: str, error: Exception) -> LedgerUnavailable:
    """LedgerUnavailable for a driver's error, naming the database and what to check."""
    reason = getattr(error, "orig", None) or error
    return LedgerUnavailable(
        f"ledger {shown(url)} cannot be used: {str(reason).strip().splitlines()[0]}; "
        "check that the database is there, is writable and has room"
    )


def poisonous(error: DBAPIError) -> bool:
    """Whether what was to be stored is at fault, and not the database."""
    state: str | None = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return state.startswith(_DATA_STATES)
    return isinstance(error, (DataError, ProgrammingError))


def evict(connection: Connection) -> None:
    """End what holds the database's locks and has fallen silent, where that can happen."""
    if connection.dialect.name == "postgresql":
        from resonate_amqp.ledgers import postgres

        connection.execute(text(postgres.EVICT))


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    _switch_to_wal(cursor)
    for pragma in (
        "synchronous=FULL",
        f"busy_timeout={BUSY_S * 1000}",
        "journal_size_limit=67108864",
        "wal_autocheckpoint=8000",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _prepare_reading(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA query_only=ON")


def _switch_to_wal(cursor: Any) -> None:
    """Ledgers that start together on a new file: SQLite does not wait for the others here."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _begin_immediate(connection: Connection) -> None:
    mode = connection.get_execution_options().get("sqlite_begin", "BEGIN IMMEDIATE")
    connection.exec_driver_sql(mode)
