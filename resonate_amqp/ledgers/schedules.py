"""Schedules in the database: few, seldom asked for, and therefore not remembered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, bindparam, delete, insert, select, text

from resonate_amqp.core.model import Schedule, Value, shard_of
from resonate_amqp.core.pages import START, Cursor
from resonate_amqp.ledgers.prepared import Prepared
from resonate_amqp.ledgers.tables import json_text, schedules, shards

_PLAIN = tuple(one.name for one in fields(Schedule) if one.name not in ("param", "tags"))
_texts = msgspec.json.Decoder(dict[str, str]).decode

_OWN = schedules.c.shard.in_(select(shards.c.shard).where(shards.c.queue == bindparam("of")))
_by_id = select(schedules).where(schedules.c.id == bindparam("named"))
_in_order = (
    select(schedules)
    .where(_OWN, schedules.c.id > bindparam("id"))
    .order_by(schedules.c.id)
    .limit(bindparam("most"))
)

# The very words of the partial index: SQLite uses it for no others.
DUE = (
    select(schedules)
    .where(text("NOT paused"), schedules.c.next_at < bindparam("horizon"), _OWN)
    .order_by(schedules.c.next_at)
    .limit(bindparam("most"))
)
_delete = Prepared(delete(schedules).where(schedules.c.id == bindparam("of")))
_insert = Prepared(insert(schedules))


def schedule(connection: Connection, schedule_id: str) -> Schedule | None:
    """The schedule with this id."""
    row = connection.execute(_by_id, {"named": schedule_id}).mappings().first()
    return None if row is None else _of(row)


def timetable(
    connection: Connection, queue: int, limit: int, cursor: Cursor = START
) -> list[Schedule]:
    """The schedules that a queue keeps, by id: those after the cursor."""
    bound = {"of": queue, "most": limit, "id": cursor.id}
    rows = connection.execute(_in_order, bound).mappings()
    return [_of(row) for row in rows]


def due(connection: Connection, bound: Mapping[str, int]) -> list[Schedule]:
    """The schedules of the queue `of` with a tick before `horizon`, `most` at most."""
    return [_of(row) for row in connection.execute(DUE, bound).mappings()]


def store(connection: Connection, written: Mapping[str, Schedule | None]) -> None:
    """Write what an overlay changed; None stands for a deletion."""
    _delete.run(connection, [{"of": schedule_id} for schedule_id in written])
    _insert.run(connection, [_row(one) for one in written.values() if one is not None])


def _row(one: Schedule) -> dict[str, Any]:
    return {name: getattr(one, name) for name in _PLAIN} | {
        "shard": shard_of(one.id),
        "param_headers": json_text(one.param.headers),
        "param_data": one.param.data,
        "tags": json_text(one.tags),
    }


def _of(row: RowMapping) -> Schedule:
    return Schedule(
        param=Value(_texts(row["param_headers"]), row["param_data"]),
        tags=_texts(row["tags"]),
        **{name: row[name] for name in _PLAIN},
    )
