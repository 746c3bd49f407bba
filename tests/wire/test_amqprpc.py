"""RPC over AMQP: the bytes of the golden file, and what a reply means."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resonate_amqp.core.model import TARGET, Promise, PromiseState, Value
from resonate_amqp.errors import Encoding, Malformed, RemoteError, UsageError
from resonate_amqp.wire.amqprpc import LONGEST_EXPIRATION, check, read_reply, request_message
from resonate_amqp.wire.codec import decode, encode, encode_call, error_of
from tests.wire.test_celery2 import shown

GOLDEN = Path(__file__).parent / "golden"
LEDGER = "resonate.ledger.0"
NOW = 1_767_225_000_000


def asked(*args: Any, **kwargs: Any) -> Promise:
    return Promise(
        id="order-42:1.2",
        state=PromiseState.PENDING,
        param=encode_call("price", 1, args, kwargs),
        tags={TARGET: "queue://rpc_queue"},
        timeout_at=NOW + 60_000,
        created_at=NOW,
    )


def body(promise: Promise) -> Any:
    return json.loads(request_message(promise, NOW, LEDGER).body)


def test_a_request_has_the_form_of_its_golden_file() -> None:
    """Servers in other languages are written after this form."""
    kept = json.loads((GOLDEN / "amqprpc.json").read_text(encoding="utf-8"))
    assert shown(request_message(asked({"sku": "café", "count": 2}), NOW, LEDGER)) == kept


def test_one_argument_is_the_body_itself() -> None:
    assert body(asked(30)) == 30
    assert body(asked(None)) is None
    assert body(asked([1, 2])) == [1, 2]


def test_several_arguments_or_none_are_an_array() -> None:
    assert body(asked(1, "b")) == [1, "b"]
    assert body(asked()) == []


def test_keywords_are_an_object() -> None:
    assert body(asked(sku="a", count=2)) == {"sku": "a", "count": 2}


def test_both_kinds_at_once_are_refused_with_the_remedy() -> None:
    with pytest.raises(Encoding, match="positional arguments or keywords, not both"):
        check(asked(1, count=2).param)


@pytest.mark.parametrize("param", [Value(), encode([1]), encode({"func": "f" * 3_000})])
def test_what_is_no_call_is_refused(param: Value) -> None:
    with pytest.raises(UsageError):
        check(param)


def test_a_request_expires_with_its_promise_as_far_as_the_broker_can_count() -> None:
    promise = asked(1)
    assert request_message(promise, NOW, LEDGER).properties.expiration == 60_000
    assert request_message(promise, NOW + 90_000, LEDGER).properties.expiration == 1
    far = replace(promise, timeout_at=NOW + LONGEST_EXPIRATION + 1)
    assert request_message(far, NOW, LEDGER).properties.expiration is None


@pytest.mark.parametrize(
    "value", [None, 0, "text", [1, {"a": None}], {"status": "SUCCESS"}, 10**30]
)
def test_a_reply_resolves_with_its_json(value: Any) -> None:
    reading = read_reply(json.dumps(value).encode(), {})
    assert reading is not None
    assert (reading[0], decode(reading[1])) == (PromiseState.RESOLVED, value)


def test_a_reply_with_the_error_header_rejects_whatever_its_body_is() -> None:
    reading = read_reply(b"\xff", {"resonate:error": "out of stock"})
    assert reading is not None
    state, value = reading
    found = error_of(replace(asked(), state=state, value=value, settled_at=1))
    assert isinstance(found, RemoteError)
    assert str(found) == "out of stock"


@pytest.mark.parametrize("error", [None, 1, b"x", ["x"], {}])
def test_an_error_header_that_is_no_text_is_malformed(error: object) -> None:
    with pytest.raises(Malformed, match="resonate:error"):
        read_reply(b"1", {"resonate:error": error})


@pytest.mark.parametrize("told", [b"", b"pong", b"NaN", b"\xff", b"{", b"[" * 100_000])
def test_what_is_not_json_is_malformed(told: bytes) -> None:
    with pytest.raises(Malformed):
        read_reply(told, {})


def test_a_reply_too_large_to_be_recorded_rejects_naming_its_size() -> None:
    reading = read_reply(json.dumps("x" * 2**21).encode(), {})
    assert reading is not None
    state, value = reading
    assert state is PromiseState.REJECTED
    assert "2097154 bytes" in str(error_of(replace(asked(), state=state, value=value)))


@given(st.binary(max_size=200))
def test_whatever_bytes_a_reply_is_reading_it_ends_in_an_outcome_or_malformed(told: bytes) -> None:
    try:
        read_reply(told, {})
    except Malformed:
        return
