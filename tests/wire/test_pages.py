"""Queries that are answered page by page, on the wire."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resonate_amqp.core.model import Promise, Task, TaskState, Value
from resonate_amqp.core.pages import START, Cursor
from resonate_amqp.core.requests import Group, OriginGet, PromiseSearch, Query, Response, TaskSearch
from resonate_amqp.wire.envelope import (
    MAX_MESSAGE_BYTES,
    Reply,
    decode_replies,
    decode_requests,
    encode_group,
    encode_replies,
    encode_reply,
    encode_requests,
)
from tests.wire.messages import RESOLVED


@pytest.mark.parametrize(
    "query",
    [
        OriginGet("order-42", 7, START),
        OriginGet("order-42", 7, Cursor(-5, "order-42:1 with a space")),
        PromiseSearch(name="color", value="red", limit=7, cursor=Cursor(5, "p")),
        TaskSearch(
            states=(TaskState.HALTED, TaskState.PENDING),
            before=9,
            cursor=Cursor(5, "p", TaskState.PENDING),
        ),
    ],
    ids=lambda query: query.kind,
)
def test_a_query_for_a_page_comes_back_as_it_was(query: Query) -> None:
    asked = Group(id="g3", steps=(query,))
    assert decode_requests(encode_requests([encode_group(asked)])) == [asked]


def page_of(limit: int, tree: list[tuple[Promise, Task | None]]) -> Reply:
    question = Group(id="g3", steps=(OriginGet("order-42", limit, START),))
    body = encode_reply(question, [Response(status=200)], tree)
    assert len(body) < MAX_MESSAGE_BYTES
    [reply] = decode_replies(encode_replies(5, [body], [])).replies
    return reply


def test_a_page_that_would_be_too_long_ends_earlier_and_tells_where() -> None:
    large = replace(RESOLVED, value=Value({}, "x" * 1_400_000))
    reply = page_of(10, [(large, None)] * 10)
    assert 2 <= len(reply.tree or []) < 10
    assert reply.cursor == Cursor(large.created_at, large.id)


def test_a_page_tells_whether_it_is_the_last() -> None:
    assert page_of(2, [(RESOLVED, None)] * 2).cursor == START
    full = page_of(2, [(RESOLVED, None)] * 3)
    assert len(full.tree or []) == 2
    assert full.cursor == Cursor(RESOLVED.created_at, RESOLVED.id)


def test_the_answer_to_whoever_asks_for_no_page_tells_none() -> None:
    question = Group(id="g3", steps=(OriginGet("order-42"),))
    body = encode_reply(question, [Response(status=200)], [(RESOLVED, None)])
    assert b"cursor" not in body
    assert decode_replies(encode_replies(5, [body], [])).replies[0].cursor is None
