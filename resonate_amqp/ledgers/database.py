"""Opening a ledger's database: the settings that make a commit survive a power cut."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from resonate_amqp.errors import LedgerUnavailable, UsageError

_FORMS = "write sqlite:///FILE or postgresql://USER@HOST/NAME"


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


def engine(url: str) -> Engine:
    """An engine whose commits are durable when they return; connects to nothing yet."""
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite":
        made = create_engine(parsed, connect_args={"check_same_thread": False, "timeout": 5})
        event.listen(made, "connect", _prepare_sqlite)
        event.listen(made, "begin", _begin_immediate)
        return made
    options = (
        "-c idle_in_transaction_session_timeout=5s -c lock_timeout=5s "
        "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
    )
    try:
        return create_engine(
            parsed, isolation_level="READ COMMITTED", connect_args={"options": options}
        )
    except (NoSuchModuleError, ModuleNotFoundError):
        raise UsageError(
            f"ledger {shown(url)} needs psycopg: pip install 'resonate-amqp[postgres]'"
        ) from None


def connect(url: str) -> Connection:
    """One connection, kept for as long as its owner lives; raises LedgerUnavailable."""
    try:
        return engine(url).connect()
    except SQLAlchemyError as error:
        raise unavailable(url, error) from error


def unavailable(url: str, error: Exception) -> LedgerUnavailable:
    """LedgerUnavailable for a driver's error, naming the database and what to check."""
    reason = getattr(error, "orig", None) or error
    return LedgerUnavailable(
        f"ledger {shown(url)} cannot be used: {str(reason).strip().splitlines()[0]}; "
        "check that the database is there, is writable and has room"
    )


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "busy_timeout=5000",
        "journal_size_limit=67108864",
        "wal_autocheckpoint=8000",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    mode = connection.get_execution_options().get("sqlite_begin", "BEGIN IMMEDIATE")
    connection.exec_driver_sql(mode)
