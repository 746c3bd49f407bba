"""Calls recorded in a transaction of the user's own, and how they are handed to a relay.

The table lives in the user's database, not in the ledger's. A row goes only after the ledger
answered for it; one that the ledger refused stays, with the reason, and holds up nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Table,
    Text,
    bindparam,
    create_engine,
    inspect,
)
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, ProgrammingError
from sqlalchemy.exc import SQLAlchemyError as DatabaseError
from sqlalchemy.orm import Session

from resonate_amqp.core.requests import PromiseCreate
from resonate_amqp.errors import Malformed, ResonateError, UsageError
from resonate_amqp.ledgers.database import shown
from resonate_amqp.wire.requests import read_request, write_request

__all__ = ["Engine", "Recorded", "Transaction", "add", "calls_table", "forward"]

TABLE = "resonate_calls"

Transaction = Connection | Session
"""What takes part in a transaction of the user's; a SQLModel Session is a Session."""


def calls_table(metadata: MetaData) -> Table:
    """The table in the user's own metadata, for `create_all` and Alembic's autogenerate."""
    return Table(
        TABLE,
        metadata,
        Column("serial", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("id", Text, nullable=False),
        Column("request", Text, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("refused", Text),
    )


_METADATA = MetaData()
_calls = calls_table(_METADATA)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A row: a call that is to be sent."""

    serial: int
    id: str
    request: str

    def read(self) -> PromiseCreate:
        """The request; raises Malformed for a row that `add` did not write."""
        try:
            request = read_request(msgspec.json.decode(self.request), "request")
        except msgspec.DecodeError as error:
            raise Malformed("request", str(error)) from None
        if not isinstance(request, PromiseCreate) or request.id != self.id:
            raise Malformed("request", f"it does not create the promise {self.id!r}")
        return request


Outcome = str | None
"""What came of a call: empty when it was sent, the reason of a refusal, None to keep it."""


def create_table(engine: Engine) -> None:
    """Create the table unless it is there."""
    with _usable(engine):
        _METADATA.create_all(engine)


def check_table(engine: Engine) -> None:
    """Raise UsageError when the database has no such table."""
    with _usable(engine):
        if not inspect(engine).has_table(TABLE):
            raise _missing(None)


def add(transaction: Any, create: PromiseCreate, now: int) -> None:
    """Insert a row in the transaction that is under way, or that this statement begins.

    Raises UsageError for what is no Session or Connection, and when the table is missing.
    """
    if not isinstance(transaction, Transaction):
        remedy = (
            "; write await session.run_sync(lambda s: resonate.create_in(s, …))"
            if hasattr(transaction, "run_sync")
            else ""
        )
        raise UsageError(
            f"{type(transaction).__name__} is no SQLAlchemy Session or Connection{remedy}"
        )
    row = {
        "id": create.id,
        "request": msgspec.json.encode(write_request(create)).decode(),
        "created_at": now,
    }
    try:
        transaction.execute(_calls.insert().values(row))
    except (OperationalError, ProgrammingError) as error:
        if TABLE in str(error.orig):
            raise _missing(error) from error
        raise


def forward(
    engine: Engine, limit: int, send: Callable[[Sequence[Recorded]], Sequence[Outcome]]
) -> int:
    """Hand the oldest rows to `send` and do with each what it says; answers how many there were.

    On PostgreSQL other relays pass over these rows meanwhile. Elsewhere no transaction is kept
    open, which could hold up those who write; there two relays may send the same call, which is
    one execution. Raises UsageError when the table is missing, ResonateError when the database
    cannot be used.
    """
    with _usable(engine):
        if engine.dialect.name == "postgresql":
            with engine.begin() as connection:
                rows = _oldest(connection, limit)
                _settle(connection, rows, send(rows))
            return len(rows)
        with engine.connect() as connection:
            rows = _oldest(connection, limit)
        outcomes = send(rows)
        if any(outcome is not None for outcome in outcomes):
            with engine.begin() as connection:
                _settle(connection, rows, outcomes)
        return len(rows)


def open_engine(url: str) -> Engine:
    """An engine of its own for a relay; raises UsageError for a url that cannot be used."""
    if url.startswith(("postgres://", "postgresql://")):
        url = "postgresql+psycopg://" + url.partition("://")[2]
    try:
        return create_engine(url)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise UsageError(f"database {shown(url)}: {error}") from None


def _oldest(connection: Connection, limit: int) -> list[Recorded]:
    found = connection.execute(
        _calls.select()
        .where(_calls.c.refused.is_(None))
        .order_by(_calls.c.serial)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [Recorded(row.serial, row.id, row.request) for row in found]


def _settle(connection: Connection, rows: Sequence[Recorded], outcomes: Sequence[Outcome]) -> None:
    """By id too: some databases give the serial of a deleted row to a later one."""
    this = (_calls.c.serial == bindparam("at"), _calls.c.id == bindparam("named"))
    sent: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    for row, outcome in zip(rows, outcomes, strict=True):
        key = {"at": row.serial, "named": row.id}
        if outcome:
            refused.append(key | {"reason": outcome})
        elif outcome is not None:
            sent.append(key)
    if sent:
        connection.execute(_calls.delete().where(*this), sent)
    if refused:
        connection.execute(
            _calls.update().where(*this).values(refused=bindparam("reason")), refused
        )


def _missing(error: Exception | None) -> UsageError:
    why = f" ({error.orig})" if isinstance(error, OperationalError | ProgrammingError) else ""
    return UsageError(
        f"the database has no table {TABLE}{why}: create it with "
        "resonate.create_calls_table(engine), or in a migration with calls_table(metadata)"
    )


@contextmanager
def _usable(engine: Engine) -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        reason = getattr(error, "orig", None) or error
        if TABLE in str(reason):
            raise _missing(error) from error
        raise ResonateError(
            f"database {engine.url.render_as_string(hide_password=True)} cannot be used: "
            f"{str(reason).strip().splitlines()[0]}"
        ) from error
