"""The tables of a ledger, and how a record becomes a row and back.

Instants are BIGINT milliseconds. Columns beside the records' own (origin, parent, func, …) are
there for those who look for promises, not for the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec
from sqlalchemy import BigInteger, Column, Index, RowMapping, SmallInteger, Table, Text, text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from resonate_amqp.core.model import (
    BRANCH,
    PARENT,
    Promise,
    PromiseState,
    Task,
    TaskState,
    Value,
    origin_of,
    shard_of,
)
from resonate_amqp.wire.address import group_of

# Everywhere the order of bytes, which is the order of Python's strings and of SQLite; PostgreSQL
# would order as the database's language does, which ignores punctuation.
TEXT = Text().with_variant(Text(collation="C"), "postgresql")


def _instant(*, nullable: bool = False, index: bool = False) -> Any:
    return Field(
        default=None if nullable else 0,
        sa_column=Column(BigInteger, nullable=nullable, index=index),
    )


def _partial(name: str, column: str, where: str) -> Index:
    """An index of the rows in one state: it is small, and a change of others costs nothing."""
    return Index(name, column, postgresql_where=text(where), sqlite_where=text(where))


class Base(SQLModel, registry=registry()):
    """A registry of its own, so that the tables never appear in a user's metadata."""


class LedgerQueue(Base, table=True):
    """A ledger queue: who may write (generation) and the last instant given to a batch (now)."""

    __tablename__ = "ledger_queues"
    queue: int = Field(sa_column=Column(SmallInteger, primary_key=True, autoincrement=False))
    generation: int = _instant()
    now: int = _instant()


class Shard(Base, table=True):
    """Which ledger queue keeps a shard."""

    __tablename__ = "shards"
    shard: int = Field(sa_column=Column(SmallInteger, primary_key=True, autoincrement=False))
    queue: int = Field(sa_column=Column(SmallInteger, nullable=False))


class PromiseRow(Base, table=True):
    """A promise; `param_*` and `value_*` are what was asked and answered."""

    __tablename__ = "promises"
    __table_args__ = (
        Index("ix_promises_origin", "origin", "created_at"),
        Index("ix_promises_branch", "branch", "created_at"),
        _partial("ix_promises_ended", "settled_at", "state <> 'pending'"),
        _partial("ix_promises_pending", "created_at", "state = 'pending'"),
        Index("ix_promises_func", "func", "created_at"),
        _partial("ix_promises_due", "timeout_at", "state = 'pending'"),
    )
    id: str = Field(sa_column=Column(TEXT, primary_key=True))
    shard: int = Field(sa_column=Column(SmallInteger, nullable=False))
    state: str = Field(sa_column=Column(TEXT, nullable=False))
    origin: str = Field(sa_column=Column(TEXT, nullable=False))
    parent: str = Field(sa_column=Column(TEXT, nullable=False))
    branch: str = Field(sa_column=Column(TEXT, nullable=False))
    func: str = Field(sa_column=Column(TEXT, nullable=False))
    version: str = Field(sa_column=Column(TEXT, nullable=False))
    group: str = Field(sa_column=Column("group", TEXT, nullable=False))
    external: bool = Field(default=False)
    param_headers: str = Field(sa_column=Column(TEXT, nullable=False))
    param_data: str = Field(sa_column=Column(TEXT, nullable=False))
    value_headers: str = Field(sa_column=Column(TEXT, nullable=False))
    value_data: str = Field(sa_column=Column(TEXT, nullable=False))
    error_type: str = Field(sa_column=Column(TEXT, nullable=False))
    tags: str = Field(sa_column=Column(TEXT, nullable=False))
    timeout_at: int = _instant()
    created_at: int = _instant()
    settled_at: int | None = _instant(nullable=True)
    settled_by: str = Field(sa_column=Column(TEXT, nullable=False))


class TaskRow(Base, table=True):
    """A task; times are epoch ms, `ttl` is ms."""

    __tablename__ = "tasks"
    __table_args__ = (
        _partial("ix_tasks_retry", "retry_at", "state = 'pending' AND NOT offered"),
        _partial("ix_tasks_offered", "retry_at", "state = 'pending' AND offered"),
        _partial("ix_tasks_lease", "expires_at", "state = 'acquired'"),
        _partial("ix_tasks_acquired", "acquired_at", "state = 'acquired'"),
        _partial("ix_tasks_suspended", "id", "state = 'suspended'"),
        _partial("ix_tasks_halted", "id", "state = 'halted'"),
    )
    id: str = Field(sa_column=Column(TEXT, primary_key=True))
    shard: int = Field(sa_column=Column(SmallInteger, nullable=False))
    state: str = Field(sa_column=Column(TEXT, nullable=False))
    version: int = _instant()
    resumes: str = Field(sa_column=Column(TEXT, nullable=False))
    pid: str | None = Field(sa_column=Column(TEXT, nullable=True))
    ttl: int | None = _instant(nullable=True)
    expires_at: int | None = _instant(nullable=True)
    retry_at: int | None = _instant(nullable=True)
    offered: bool = Field(default=False)
    holder: str = Field(sa_column=Column(TEXT, nullable=False))
    ticket: str = Field(sa_column=Column(TEXT, nullable=False))
    redeliveries: int = _instant()
    last_holder: str = Field(sa_column=Column(TEXT, nullable=False))
    last_version: int = _instant()
    deliveries: int = _instant()
    acquired_at: int | None = _instant(nullable=True)
    reason: str = Field(sa_column=Column(TEXT, nullable=False))


class CallbackRow(Base, table=True):
    """A suspended awaiter that is resumed when `awaited` is settled."""

    __tablename__ = "callbacks"
    awaited: str = Field(sa_column=Column(TEXT, primary_key=True))
    awaiter: str = Field(sa_column=Column(TEXT, primary_key=True))


class ListenerRow(Base, table=True):
    """An address that is notified of `awaited`; the row goes after its unblock was published."""

    __tablename__ = "listeners"
    awaited: str = Field(sa_column=Column(TEXT, primary_key=True))
    address: str = Field(sa_column=Column(TEXT, primary_key=True))


class OutboxRow(Base, table=True):
    """An execute to be published until the broker confirmed it, or its task was acquired."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_task", "task_id"),)
    serial: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    shard: int = Field(sa_column=Column(SmallInteger, nullable=False))
    task_id: str = Field(sa_column=Column(TEXT, nullable=False))
    version: int = _instant()
    target: str = Field(sa_column=Column(TEXT, nullable=False))


class MirrorRow(Base, table=True):
    """A pending mirror: `id` repeats the outcome of `named`, which may be another ledger's."""

    __tablename__ = "mirrors"
    __table_args__ = (Index("ix_mirrors_named", "named"),)
    id: str = Field(sa_column=Column(TEXT, primary_key=True))
    shard: int = Field(sa_column=Column(SmallInteger, nullable=False))
    named: str = Field(sa_column=Column(TEXT, nullable=False))


class ScheduleRow(Base, table=True):
    """A schedule; `param_*`, `tags` and `timeout_ms` are those of each of its calls."""

    __tablename__ = "schedules"
    __table_args__ = (
        Index(
            "ix_schedules_due",
            "next_at",
            postgresql_where=text("NOT paused"),
            sqlite_where=text("NOT paused"),
        ),
    )
    id: str = Field(sa_column=Column(TEXT, primary_key=True))
    shard: int = Field(sa_column=Column(SmallInteger, nullable=False))
    cron: str = Field(sa_column=Column(TEXT, nullable=False))
    param_headers: str = Field(sa_column=Column(TEXT, nullable=False))
    param_data: str = Field(sa_column=Column(TEXT, nullable=False))
    tags: str = Field(sa_column=Column(TEXT, nullable=False))
    timeout_ms: int = _instant()
    created_at: int = _instant()
    next_at: int | None = _instant(nullable=True)
    last_at: int | None = _instant(nullable=True)
    paused: bool = Field(default=False)


class TagRow(Base, table=True):
    """A tag the caller gave; the protocol's own tags are columns of the promise."""

    __tablename__ = "tags"
    __table_args__ = (Index("ix_tags_name", "name", "value"),)
    promise_id: str = Field(sa_column=Column(TEXT, primary_key=True))
    name: str = Field(sa_column=Column(TEXT, primary_key=True))
    value: str = Field(sa_column=Column(TEXT, nullable=False))


_encode = msgspec.json.Encoder().encode
_headers = msgspec.json.Decoder(dict[str, str]).decode
_names = msgspec.json.Decoder(list[str]).decode


def json_text(value: Mapping[str, str] | tuple[str, ...]) -> str:
    """A small mapping or tuple as JSON text."""
    return _encode(value).decode() if value else ("{}" if isinstance(value, Mapping) else "[]")


def promise_row(promise: Promise) -> dict[str, Any]:
    """Every column of a promise, relations apart."""
    tags = promise.tags
    return {
        "id": promise.id,
        "shard": shard_of(promise.id),
        "origin": origin_of(promise.id),
        "parent": tags.get(PARENT, promise.id),
        "branch": tags.get(BRANCH, promise.id),
        "func": promise.param.headers.get("func", ""),
        "version": promise.param.headers.get("version", ""),
        "group": group_of(promise.target),
        "external": promise.external,
        "param_headers": json_text(promise.param.headers),
        "param_data": promise.param.data,
        "tags": json_text(tags),
        "timeout_at": promise.timeout_at,
        "created_at": promise.created_at,
    } | outcome_row(promise)


def mirror_row(promise: Promise) -> dict[str, Any]:
    """The row of a pending mirror."""
    return {"id": promise.id, "shard": shard_of(promise.id), "named": promise.mirror}


def outcome_row(promise: Promise) -> dict[str, Any]:
    """The columns that settling a promise changes."""
    return {
        "state": promise.state.value,
        "value_headers": json_text(promise.value.headers),
        "value_data": promise.value.data,
        "error_type": promise.value.headers.get("error", ""),
        "settled_at": promise.settled_at,
        "settled_by": promise.settled_by,
    }


def promise_of(
    row: RowMapping, callbacks: tuple[str, ...] = (), listeners: tuple[str, ...] = ()
) -> Promise:
    """The promise a row holds, with its relations."""
    return Promise(
        id=row["id"],
        state=PromiseState(row["state"]),
        param=Value(_headers(row["param_headers"]), row["param_data"]),
        value=Value(_headers(row["value_headers"]), row["value_data"]),
        tags=_headers(row["tags"]),
        timeout_at=row["timeout_at"],
        created_at=row["created_at"],
        settled_at=row["settled_at"],
        settled_by=row["settled_by"],
        callbacks=callbacks,
        listeners=listeners,
    )


TASK_FIELDS = (
    "version",
    "pid",
    "ttl",
    "expires_at",
    "retry_at",
    "offered",
    "holder",
    "ticket",
    "redeliveries",
    "last_holder",
    "last_version",
    "deliveries",
    "acquired_at",
    "reason",
)


def task_row(task: Task) -> dict[str, Any]:
    """Every column of a task."""
    row: dict[str, Any] = {name: getattr(task, name) for name in TASK_FIELDS}
    row["id"] = task.id
    row["shard"] = shard_of(task.id)
    row["state"] = task.state.value
    row["resumes"] = json_text(task.resumes)
    return row


def task_of(row: RowMapping, prefix: str = "") -> Task:
    """The task a row holds; its columns may be prefixed."""
    fields = {name: row[prefix + name] for name in TASK_FIELDS}
    return Task(
        id=row[prefix + "id"],
        state=TaskState(row[prefix + "state"]),
        resumes=tuple(_names(row[prefix + "resumes"])),
        **fields,
    )


def _table(row: type[Base]) -> Table:
    return cast(Table, row.__table__)  # type: ignore[attr-defined]  # SQLModel sets it


promises = _table(PromiseRow)
tasks = _table(TaskRow)
callbacks = _table(CallbackRow)
listeners = _table(ListenerRow)
outbox = _table(OutboxRow)
tags = _table(TagRow)
mirrors = _table(MirrorRow)
schedules = _table(ScheduleRow)
ledger_queues = _table(LedgerQueue)
shards = _table(Shard)

OUTCOME_COLUMNS = ["state", "value_headers", "value_data", "error_type", "settled_at", "settled_by"]
TASK_COLUMNS = ("state", "resumes", *TASK_FIELDS)
