"""The page about the protocol: its samples are what the code reads and writes."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from resonate_amqp.core.effects import PRELOAD_BYTES, PRELOAD_MOST
from resonate_amqp.core.reports import PromiseReport
from resonate_amqp.core.requests import Query, Request
from resonate_amqp.errors import Malformed
from resonate_amqp.wire import address
from resonate_amqp.wire.codec import decode_call
from resonate_amqp.wire.envelope import (
    MAX_MESSAGE_BYTES,
    BadGroup,
    decode_execute,
    decode_replies,
    decode_requests,
    encode_dead,
    encode_execute,
    encode_group,
    encode_replies,
    encode_requests,
    encode_unblock,
)
from resonate_amqp.wire.records import read_response, write_response
from resonate_amqp.wire.requests import read_request, write_request
from resonate_amqp.wire.topology import ledger_objects, reply_queue, target_queue
from tests.docs.markdown import ROOT, blocks, prose, sections, table

PAGE = ROOT / "docs" / "reference" / "protocol.md"
MADE_BY_LEDGERS = {PromiseReport.kind}
KINDS = sorted({one.kind for one in (*get_args(Request), *get_args(Query))} - MADE_BY_LEDGERS)
STATUSES = [200, 300, 400, 404, 409, 422, 500]

kinds = pytest.mark.parametrize("kind", KINDS)


def _sample(title: str) -> Any:
    (block,) = [block for block in blocks(PAGE) if block.title == title]
    return json.loads(block.text)


def _request(kind: str) -> Any:
    block = next(one for one in blocks(PAGE) if one.heading == kind and not one.title)
    return json.loads(block.text)


def test_every_kind_of_request_has_a_section_and_no_other() -> None:
    documented = [heading for heading in sections(PAGE) if "." in heading and " " not in heading]
    assert sorted(documented) == KINDS


@kinds
def test_the_sample_of_a_request_is_read_and_written_as_it_stands(kind: str) -> None:
    sample = _request(kind)

    assert sample["kind"] == kind
    assert write_request(read_request(sample, "sample")) == sample


@kinds
def test_the_table_of_a_request_names_exactly_its_fields(kind: str) -> None:
    rows = table(sections(PAGE)[kind])
    assert [row[0].strip("`") for row in rows] == list(_request(kind)["data"])


@kinds
def test_a_request_without_its_id_is_refused_naming_the_field(kind: str) -> None:
    sample = _request(kind)
    first = next(iter(sample["data"]))
    del sample["data"][first]

    with pytest.raises(Malformed, match=rf"\.{first}\b"):
        read_request(sample, "sample")


def test_the_requests_message_is_read_and_written_as_it_stands() -> None:
    sample = _sample("requests")
    groups = [
        group
        for group in decode_requests(json.dumps(sample).encode())
        if not isinstance(group, BadGroup)
    ]
    assert json.loads(encode_requests([encode_group(group) for group in groups])) == sample


def test_the_replies_message_is_read_and_written_as_it_stands() -> None:
    sample = _sample("replies")
    message = decode_replies(json.dumps(sample).encode())
    replies = [
        {"id": reply.id, "results": [write_response("promise.get", one) for one in reply.responses]}
        for reply in message.replies
    ]
    unblocks = [encode_unblock(promise) for promise in message.unblocked]
    encoded = [json.dumps(reply).encode() for reply in replies]

    assert json.loads(encode_replies(message.now, encoded, unblocks)) == sample
    call = decode_call(message.unblocked[0].param)
    assert (call.func, call.args, call.version) == ("order", [30], 1)


def test_the_execute_message_is_read_and_written_as_it_stands() -> None:
    sample = _sample("execute")
    message = decode_execute(json.dumps(sample).encode())
    assert json.loads(encode_execute(message)) == sample


def test_the_dead_message_is_what_becomes_of_its_body() -> None:
    sample = _sample("dead")
    body = sample["body"].encode()
    with pytest.raises(Malformed) as refused:
        decode_requests(body)
    assert json.loads(encode_dead(body, str(refused.value), address.ledger_queue(0))) == sample


def test_the_sample_of_an_answer_is_read_and_written_as_it_stands() -> None:
    sample = _sample("answer task.acquire")
    assert write_response("task.acquire", read_response(sample)) == sample


def test_the_statuses_are_listed() -> None:
    assert [int(row[0]) for row in table(sections(PAGE)["Statuses"])] == STATUSES


def test_the_figures_are_those_of_the_code() -> None:
    text = " ".join(prose(PAGE).split())
    assert MAX_MESSAGE_BYTES == 8 * 2**20
    assert "A message is at most 8 MiB" in text
    assert f"at most {address.MAX_ROOT_ID} bytes" in text
    assert f"at most {address.MAX_ID} bytes" in text
    assert f"at most {PRELOAD_MOST:,} of them and {PRELOAD_BYTES // 1024} KiB" in text


def test_the_table_of_the_topology_names_every_object_as_it_is_declared() -> None:
    rows = {row[0].split("`")[1]: row[1] for row in table(sections(PAGE)["Topology"])}
    declared = [
        *ledger_objects(0),
        target_queue("poll://any@GROUP", "quorum"),
        target_queue("poll://uni@GROUP/PID", "quorum"),
        reply_queue("GROUP", "PID", "EPOCH"),
    ]
    assert set(rows) == {thing.name for thing in declared}
    for thing in declared:
        arguments = dict(getattr(thing, "arguments", ()))
        assert str(arguments.get("x-queue-type", "")) in rows[thing.name]
        assert ("single active consumer" in rows[thing.name]) == (
            "x-single-active-consumer" in arguments
        )
        assert ("x-expires" in rows[thing.name]) == ("x-expires" in arguments)


def test_the_table_of_targets_says_where_each_leads() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in sections(PAGE)["Topology"].splitlines()
        if line.startswith(("| `poll", "| `GROUP"))
    ]
    assert len(rows) == 3
    for forms, queue in rows:
        for form in forms.split(", "):
            assert address.queue_of(form.strip("`")) == queue.strip("`")


def test_what_a_ledger_makes_itself_is_refused_from_anybody_else() -> None:
    for kind in MADE_BY_LEDGERS:
        with pytest.raises(Malformed, match="is no request of this protocol"):
            read_request({"kind": kind, "data": {"id": "order-1"}}, "steps[0]")
