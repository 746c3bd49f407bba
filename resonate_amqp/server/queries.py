"""Queries: what a ledger is asked beside its rules, and the bytes of the answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from resonate_amqp.core.model import Promise, Schedule, Task
from resonate_amqp.core.pages import START, Cursor
from resonate_amqp.core.requests import Group, PromiseSearch, Query, Response, TaskSearch
from resonate_amqp.core.timetable import ScheduleSearch
from resonate_amqp.wire.envelope import encode_reply, encode_timetable


class Listings(Protocol):
    """What a ledger lists; see the port `Ledger`."""

    def tree(
        self, origin: str, limit: int, cursor: Cursor = START
    ) -> list[tuple[Promise, Task | None]]: ...

    def search(self, query: TaskSearch) -> list[tuple[Promise, Task | None]]: ...

    def tagged(self, query: PromiseSearch) -> list[tuple[Promise, Task | None]]: ...

    def timetable(self, limit: int, cursor: Cursor = START) -> list[Schedule]: ...


def answered(ledger: Listings, group: Group, query: Query) -> bytes:
    """The encoded answer to the query that is alone in its group."""
    if query.cursor is not None:
        # One record more than asked for tells that there is more.
        query = replace(query, limit=query.limit + 1)
    where = query.cursor or START
    if isinstance(query, ScheduleSearch):
        return encode_timetable(group, ledger.timetable(query.limit, where))
    if isinstance(query, TaskSearch):
        found = ledger.search(query)
    elif isinstance(query, PromiseSearch):
        found = ledger.tagged(query)
    else:
        found = ledger.tree(query.id, query.limit, where)
    return encode_reply(group, [Response(status=200)], found)
