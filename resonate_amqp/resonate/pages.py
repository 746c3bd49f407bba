"""Pages: a query asked again and again until its answer is whole, or as long as was wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from resonate_amqp.core.pages import START
from resonate_amqp.core.requests import Query
from resonate_amqp.errors import LedgerError
from resonate_amqp.wire.envelope import Reply

PAGE = 1_000


def pages(ask: Callable[[Query], Reply], query: Query, limit: int | None) -> Iterator[Reply]:
    """The answers to a query that together hold everything, or `limit` records if that is less.

    Raises LedgerError for a ledger of an earlier release that has cut its answer.
    """
    left, cursor = limit, START
    while left is None or left > 0:
        most = PAGE if left is None else min(PAGE, left)
        reply = ask(replace(query, limit=most, cursor=cursor))
        count = len(reply.schedules if reply.tree is None else reply.tree)
        left = None if left is None else left - count
        cut = count >= most and (left is None or left > 0)
        if reply.cursor is None and cut:
            raise LedgerError(
                f"{query.kind}: the ledger is of an earlier release, which answers with the first "
                f"{count} and cannot go on from there; ask for no more, or upgrade it"
            )
        yield reply
        if reply.cursor is None or reply.cursor == START:
            return
        cursor = reply.cursor
