"""Listings: what a database holds, for whoever looks on, as it must be seen at an instant.

`now` is that instant (epoch ms), `queue` the ledger queue whose shards count.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, RowMapping

from resonate_amqp.core.model import Promise, Task
from resonate_amqp.core.pages import START, Cursor
from resonate_amqp.core.promises import seen
from resonate_amqp.core.requests import PromiseSearch, TaskSearch
from resonate_amqp.ledgers.queries import SEARCHED, TAGGED, TREE
from resonate_amqp.ledgers.records import PAIRS
from resonate_amqp.ledgers.tables import promise_of, promises, task_of

Listed = list[tuple[Promise, Task | None]]


def tree(connection: Connection, now: int, origin: str, limit: int, cursor: Cursor) -> Listed:
    """The promises of one tree, oldest first: those after the cursor."""
    bound = {"root": origin} | _after(cursor, limit)
    return [_seen(row, now) for row in connection.execute(TREE, bound).mappings()]


def one(connection: Connection, now: int, promise_id: str) -> tuple[Promise, Task | None] | None:
    """A promise with its task, or None."""
    row = connection.execute(PAIRS.where(promises.c.id == promise_id)).mappings().first()
    return None if row is None else _seen(row, now)


def search(connection: Connection, queue: int, now: int, query: TaskSearch) -> Listed:
    """The tasks a query asks for, with their promises."""
    found: Listed = []
    for state in query.states[_reached(query) :]:
        here = query.cursor if query.cursor is not None and query.cursor.state is state else START
        bound = {"of": queue, "now": now, "before": query.before, "after": query.after}
        bound |= _after(here, query.limit - len(found))
        rows = connection.execute(SEARCHED[state], bound).mappings()
        found.extend(_seen(row, now) for row in rows)
    return found


def tagged(connection: Connection, queue: int, now: int, query: PromiseSearch) -> Listed:
    """The promises that have a tag, oldest first."""
    bound = {"of": queue, "tag": query.name, "is": query.value}
    bound |= _after(query.cursor or START, query.limit)
    return [_seen(row, now) for row in connection.execute(TAGGED, bound).mappings()]


def _reached(query: TaskSearch) -> int:
    """Which of its states a query has come to."""
    state = query.cursor.state if query.cursor is not None else None
    return 0 if state is None else query.states.index(state)


def _after(cursor: Cursor, limit: int) -> dict[str, Any]:
    return {"at": cursor.at, "id": cursor.id, "most": limit}


def _seen(row: RowMapping, now: int) -> tuple[Promise, Task | None]:
    task = task_of(row, "task_") if row["task_id"] is not None else None
    return seen(promise_of(row), task, now)
