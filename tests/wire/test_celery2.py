"""Celery's task messages: the bytes of the golden file, and what its results mean."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resonate_amqp.core.model import PARENT, TARGET, Promise, PromiseState, Value
from resonate_amqp.errors import Malformed, RemoteError, UsageError
from resonate_amqp.wire.celery2 import MAX_HEADERS, check, check_table, read_result, task_message
from resonate_amqp.wire.codec import decode, encode, encode_call, error_of
from resonate_amqp.wire.properties import Outgoing

GOLDEN = Path(__file__).parent / "golden"
LEDGER = "resonate.ledger.0"

CALL = Promise(
    id="order-42:1.2",
    state=PromiseState.PENDING,
    param=encode_call("shop.tasks.charge", 1, ({"id": 42}, "café"), {"currency": "EUR"}),
    tags={TARGET: "celery://payments", PARENT: "order-42:1"},
    timeout_at=1_767_225_600_000,
    created_at=1_767_225_000_000,
)
SENT: dict[str, Any] = {
    "headers": {
        "lang": "py",
        "task": "shop.tasks.fulfil",
        "id": "7d3c1f6e",
        "root_id": "7d3c1f6e",
        "retries": 1,
        "timelimit": [30.5, None],
        "x-team": "café",
    },
    "properties": {"reply_to": "9f2b", "correlation_id": "7d3c1f6e", "priority": 4},
    "content_type": "application/json",
    "content_encoding": "utf-8",
    "body": '[[42], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]',
}


def made_of(message: Any) -> Value:
    return encode_call("shop.tasks.fulfil", 1, (42,), {}, message=message)


RESUMED = replace(CALL, id="order-43", param=made_of(SENT))


def shown(sent: Outgoing) -> dict[str, Any]:
    properties = sent.properties
    return {
        "body": sent.body.decode(),
        "reply_to": sent.reply_to,
        "content_type": properties.content_type,
        "content_encoding": properties.content_encoding,
        "correlation_id": properties.correlation_id,
        "message_id": properties.message_id,
        "priority": properties.priority,
        "expiration": properties.expiration,
        "headers": dict(properties.headers),
    }


def test_a_task_message_has_the_form_of_its_golden_file() -> None:
    """Workers of other releases, ours and Celery's, read this form."""
    kept = json.loads((GOLDEN / "celery2.json").read_text(encoding="utf-8"))
    assert kept == {
        "call": shown(task_message(CALL, 0, LEDGER)),
        "again": shown(task_message(RESUMED, 2, LEDGER)),
    }


def test_the_message_of_a_durable_task_is_sent_again_as_it_was_with_our_ids_beside() -> None:
    again = task_message(RESUMED, 2, LEDGER)
    assert again.body.decode() == SENT["body"]
    assert again.reply_to == "9f2b"
    assert again.properties.correlation_id == "7d3c1f6e"
    assert again.properties.priority == 4
    own = {"resonate:id": "order-43", "resonate:version": 2, "resonate:origin": "order-43"}
    assert again.properties.headers == SENT["headers"] | own


def test_a_message_whose_body_is_no_text_is_sent_again_as_it_was() -> None:
    packed = SENT | {"body": "AP8=", "base64": True, "content_type": "application/x-msgpack"}
    kept = packed | {"properties": SENT["properties"] | {"message_id": "m-1", "app_id": "site"}}
    again = task_message(replace(CALL, param=made_of(kept)), 2, LEDGER)
    assert again.body == b"\0\xff"
    assert again.properties.content_type == "application/x-msgpack"
    assert (again.properties.message_id, again.properties.app_id) == ("m-1", "site")


def test_a_message_whose_sender_wants_no_result_is_sent_again_without_an_address() -> None:
    sent = SENT | {"properties": {"reply_to": None, "correlation_id": None, "priority": None}}
    again = task_message(replace(CALL, param=made_of(sent)), 1, LEDGER)
    assert again.reply_to == ""
    assert again.properties.correlation_id == "7d3c1f6e"
    assert again.properties.priority is None


def test_celery_reads_the_message_as_the_call_it_stands_for() -> None:
    """Celery's own reader of protocol 2, kombu's own decoder."""
    loads = pytest.importorskip("kombu.serialization").loads
    sent = task_message(CALL, 0, LEDGER)
    properties = sent.properties
    args, kwargs, embedded = loads(sent.body, properties.content_type, properties.content_encoding)
    assert (args, kwargs) == ([{"id": 42}, "café"], {"currency": "EUR"})
    assert set(embedded.values()) == {None}


@pytest.mark.parametrize(
    "param",
    [
        Value(),
        Value({}, "!"),
        encode({"func": 1}),
        encode({"func": "f\0", "args": [], "kwargs": {}, "version": 1}),
        encode({"func": "f" * 3_000, "args": [], "kwargs": {}, "version": 1}),
        *(
            made_of(message)
            for message in (
                "text",
                {},
                SENT | {"body": None},
                SENT | {"headers": []},
                SENT | {"headers": {"id": "x"}},
                SENT | {"headers": SENT["headers"] | {"x": 2**63}},
                SENT | {"headers": SENT["headers"] | {"x" * 256: 1}},
                SENT | {"headers": SENT["headers"] | {"x": "y" * MAX_HEADERS}},
                SENT | {"properties": None},
                SENT | {"properties": {"priority": 256}},
                SENT | {"properties": {"priority": "high"}},
                SENT | {"properties": {"reply_to": "x" * 256}},
                SENT | {"content_type": 1},
                SENT | {"content_type": "application/x-python-serialize"},
                SENT | {"base64": True, "body": "no base64!"},
                SENT | {"headers": SENT["headers"] | {"x": {"resonate:bytes": "!"}}},
                SENT | {"headers": SENT["headers"] | {"x": [{"resonate:timestamp": -1}]}},
                SENT | {"headers": SENT["headers"] | {"x": {"resonate:timestamp": 2**60}}},
            )
        ),
    ],
)
def test_what_no_task_message_can_be_made_of_is_refused(param: Value) -> None:
    with pytest.raises(UsageError):
        check(param)
    with pytest.raises(UsageError):
        task_message(replace(CALL, param=param), 0, LEDGER)


def result(**fields: Any) -> bytes:
    told = {"task_id": "order-42:1.2", "children": [], "date_done": "2026-01-01T00:00:00+00:00"}
    return json.dumps(told | fields).encode()


def error(**fields: Any) -> Exception:
    """What is raised where the promise is awaited."""
    reading = read_result(result(**fields))
    assert reading is not None
    state, value = reading
    assert state is PromiseState.REJECTED
    return error_of(replace(CALL, state=state, value=value, settled_at=1))


def test_a_success_resolves_with_the_result() -> None:
    reading = read_result(result(status="SUCCESS", result={"paid": 30}, traceback=None))
    assert reading is not None
    assert (reading[0], decode(reading[1])) == (PromiseState.RESOLVED, {"paid": 30})


@pytest.mark.parametrize("status", ["PENDING", "RECEIVED", "STARTED", "RETRY", "PROGRESS"])
def test_what_tells_no_outcome_is_no_outcome(status: str) -> None:
    assert read_result(result(status=status, result={"pid": 1})) is None


def test_a_failure_is_raised_as_its_own_type_with_the_traceback_of_the_callee() -> None:
    raised = {"exc_type": "ValueError", "exc_message": ["no", 2], "exc_module": "builtins"}
    found = error(status="FAILURE", result=raised, traceback="Traceback: in charge")
    assert isinstance(found, ValueError)
    assert found.args == ("no", 2)
    assert isinstance(found.__cause__, RemoteError)
    assert found.__cause__.remote_traceback == "Traceback: in charge"
    assert found.__cause__.message == "no, 2"


def test_an_error_of_the_callee_s_own_keeps_the_name_of_its_type() -> None:
    raised = {"exc_type": "Declined", "exc_message": ["no"], "exc_module": "bank.errors"}
    found = error(status="FAILURE", result=raised, traceback=None)
    assert isinstance(found, RemoteError)
    assert (found.type_name, found.message) == ("bank.errors.Declined", "no")


def test_a_revoked_task_is_rejected_as_such() -> None:
    raised = {
        "exc_type": "TaskRevokedError",
        "exc_message": ["revoked"],
        "exc_module": "celery.exceptions",
    }
    found = error(status="REVOKED", result=raised)
    assert isinstance(found, RemoteError)
    assert found.type_name == "celery.exceptions.TaskRevokedError"


@pytest.mark.parametrize("raised", [None, "boom", ["boom"], {}, {"exc_message": "boom"}, 7])
def test_a_failure_of_whatever_form_is_a_failure(raised: object) -> None:
    assert isinstance(error(status="FAILURE", result=raised, traceback=3), Exception)


@pytest.mark.parametrize("value", ["NaN", "Infinity", '"\\ud800"', "[" * 150 + "NaN" + "]" * 150])
def test_a_result_that_cannot_be_recorded_rejects_naming_why(value: str) -> None:
    """Celery's JSON may hold it; whoever awaits is better told than left to wait."""
    reading = read_result(b'{"status": "SUCCESS", "result": ' + value.encode() + b"}")
    assert reading is not None
    state, recorded = reading
    found = error_of(replace(CALL, state=state, value=recorded, settled_at=1))
    assert "result" in str(found)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x80\x04\x95",
        b"{",
        b"[" * 100_000,
        b"null",
        b"[]",
        b"{}",
        b'{"status": 1}',
        b'{"status": "SUCCESS"}',
    ],
)
def test_what_is_no_result_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_result(body)


def test_a_pickled_result_is_refused_with_the_remedy() -> None:
    with pytest.raises(Malformed, match="result_serializer = 'json'"):
        read_result(b"\x80\x04\x95\x10")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_whatever_json_a_reply_is_reading_it_ends_in_an_outcome_or_malformed(value: Any) -> None:
    for body in (json.dumps(value), json.dumps({"status": "FAILURE", "result": value})):
        try:
            read_result(body.encode())
        except Malformed:
            continue


@given(st.binary(max_size=200))
def test_whatever_bytes_a_reply_is_reading_it_ends_in_an_outcome_or_malformed(body: bytes) -> None:
    try:
        read_result(body)
    except Malformed:
        return


@given(json_values)
def test_a_message_made_of_anything_is_checked_before_it_is_sent(value: Any) -> None:
    """What a check lets pass, can be sent: a ledger must not fail on it later."""
    try:
        param = made_of(value)
        check(param)
    except UsageError:
        return
    task_message(replace(CALL, param=param), 0, LEDGER)


@pytest.mark.parametrize("wrap", [lambda item: [item], lambda item: {"a": item}])
def test_a_header_may_be_nested_32_levels_deep_and_no_deeper(wrap: Callable[[Any], Any]) -> None:
    value: Any = "x"
    for _ in range(32):
        value = wrap(value)
    check_table(value, "headers")
    with pytest.raises(Malformed, match="nested more than 32 levels"):
        check_table(wrap(value), "headers")


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63)])
def test_a_header_may_be_an_integer_of_64_bits_and_no_larger(number: int) -> None:
    check_table(number, "headers")
    with pytest.raises(Malformed, match="beyond 64 bits"):
        check_table(number + (1 if number > 0 else -1), "headers")


def test_a_name_within_a_header_has_at_most_255_bytes() -> None:
    check_table({"é" * 127 + "x": 1}, "headers")
    with pytest.raises(Malformed, match="more than 255 bytes"):
        check_table({"é" * 128: 1}, "headers")
