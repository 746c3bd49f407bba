"""Pages: the limit and the cursor of a query, and the cursor in its answer, as they travel."""

from __future__ import annotations

from typing import Any, Protocol

from resonate_amqp.core.model import TaskState
from resonate_amqp.core.pages import START, Cursor
from resonate_amqp.errors import Malformed
from resonate_amqp.wire.fields import INT64, Fields

MOST_FOUND = 10_000
USUAL = 1_000

_STATES = {state.value: state for state in TaskState}


class Paged(Protocol):
    """A query that may be answered page by page."""

    @property
    def limit(self) -> int: ...

    @property
    def cursor(self) -> Cursor | None: ...


def write_page(query: Paged) -> dict[str, Any]:
    """What a query says of its page; without a cursor it asks for the whole answer at once."""
    where = {} if query.cursor is None else {"cursor": write_cursor(query.cursor)}
    return {"limit": query.limit} | where


def read_limit(fields: Fields, usual: int | None = USUAL) -> int:
    """How many records are asked for; MOST_FOUND at most."""
    return max(0, min(fields.integer("limit", usual), MOST_FOUND))


def read_cursor(fields: Fields) -> Cursor | None:
    """Where a page begins; None when the whole answer is wanted at once. Raises Malformed."""
    if fields.raw("cursor") is None:
        return None
    try:
        return cursor_of(fields.text("cursor"))
    except ValueError:
        raise Malformed(fields.path("cursor"), "it is none that an answer gave") from None


def write_cursor(cursor: Cursor) -> str:
    """The cursor as text, empty at the start: nothing that its bearer has to understand."""
    if cursor == START:
        return ""
    return f"{cursor.state.value if cursor.state else ''} {cursor.at} {cursor.id}"


def cursor_of(text: str) -> Cursor:
    """The cursor that a text stands for; raises ValueError for any other text."""
    if not text:
        return START
    state, at, record_id = text.split(" ", 2)
    instant = int(at)
    if not -INT64 <= instant < INT64 or (state and state not in _STATES):
        raise ValueError(text)
    return Cursor(instant, record_id, _STATES[state] if state else None)
