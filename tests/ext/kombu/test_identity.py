"""Identity: which execution a message stands for, by its name, its content, or an explicit id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kombu.message import Message

from resonate_amqp.errors import UsageError
from resonate_amqp.ext.kombu.identity import Identity, content_of, further, identity_of
from resonate_amqp.wire.address import MAX_ROOT_ID

BODY = '{"id": 5}'
NAMED = {"message_id": "web-7", "correlation_id": "correlation"}


def message(body: str | bytes = BODY, **given: Any) -> Message:
    return Message(body=body, content_type="application/json", content_encoding="utf-8", **given)


def identity(
    one: Message,
    own: Callable[..., Any] | None = None,
    *,
    group: str = "shop",
    name: str = "on_order",
    **options: Any,
) -> Identity:
    found = identity_of(group, name, one, ({"id": 5}, one), own, **options)
    assert found is not None
    return found


def test_an_explicit_id_stands_as_it_is_and_carries_what_the_message_was_called() -> None:
    found = identity(message(properties=NAMED), lambda body, message: body["id"])
    assert (found.promise_id, found.message_id) == ("5", "web-7")
    assert found.digest == content_of(message())


@pytest.mark.parametrize("own", [None, lambda body, message: None, lambda body, message: ""])
def test_without_one_it_is_the_group_the_function_the_name_and_the_content(own: Any) -> None:
    found = identity(message(properties=NAMED), own)
    assert found.promise_id.startswith("shop.on_order.web-7.")
    assert (found.digest, found.message_id) == ("", "web-7")


def test_our_own_header_names_a_message_before_its_message_id() -> None:
    named = message(headers={"resonate:id": b"header"}, properties=NAMED)
    assert identity(named).message_id == "header"


@pytest.mark.parametrize(
    "other",
    [
        {"group": "mails"},
        {"name": "on_mail"},
        {"one": message(properties={"message_id": "web-8"})},
        {"one": message('{"id": 6}', properties=NAMED)},
        {"one": message(properties=NAMED, headers={"retry": 1})},
        {"one": message(properties=NAMED, headers={"at": {"step": [1, b"\0"]}})},
    ],
)
def test_another_group_function_name_body_or_header_is_another_execution(other: Any) -> None:
    same: dict[str, Any] = {"one": message(properties=NAMED)}
    assert identity(**{**same, **other}).promise_id != identity(**same).promise_id


@pytest.mark.parametrize(
    "header",
    [
        "x-death",
        "X-Death",
        "x-first-death-queue",
        "x-delivery-count",
        "traceparent",
        "tracestate",
        "baggage",
        "sentry-trace",
        "x-datadog-trace-id",
        "timestamp_in_ms",
        "resonate:origin",
        "x-shovelled-timestamp",
    ],
)
def test_what_brokers_and_tracers_write_does_not_count(header: str) -> None:
    marked = message(properties=NAMED, headers={header: "1"})
    assert identity(marked) == identity(message(properties=NAMED))


def test_a_header_may_be_left_out_by_its_name() -> None:
    marked = message(properties=NAMED, headers={"Sent-At": 1})
    assert identity(marked, ignored=["sent-at"]) == identity(message(properties=NAMED))


def test_two_messages_whose_parts_join_to_one_text_stay_apart() -> None:
    one = identity(message(properties={"message_id": "b.c"}), name="a")
    other = identity(message(properties={"message_id": "c"}), name="a.b")
    assert one.promise_id != other.promise_id


def test_a_correlation_id_names_nothing() -> None:
    one = message(properties={"correlation_id": "correlation"})
    assert identity_of("shop", "on_order", one, (), None) is None


def test_an_answer_that_is_no_id_is_an_error_that_says_what_to_answer() -> None:
    with pytest.raises(UsageError, match=r"'on_order' answered \[1\].*answer a text or a number"):
        identity(message(), lambda body, message: [1])


@pytest.mark.parametrize("length", [150, 201, 255])
@pytest.mark.parametrize("letter", ["x", "ü", ":"])
def test_an_id_that_is_too_long_is_shortened_and_stays_apart(length: int, letter: str) -> None:
    def ids(text: str) -> list[str]:
        named = message(properties={"message_id": text})
        explicit = identity(message(), lambda body, message: text)
        return [identity(named).promise_id, explicit.promise_id, further("x" * 180, text)]

    first, second = ids(letter * length + "1"), ids(letter * length + "2")
    assert not set(first) & set(second)
    for promise_id in (*first, *second):
        assert len(f"{promise_id}.attempt-100".encode()) <= MAX_ROOT_ID


def test_a_name_of_function_that_leaves_no_room_is_left_to_the_digest() -> None:
    found = identity(message(properties=NAMED), name="f" * 250)
    assert found.promise_id.startswith("shop.")
    assert len(found.promise_id) < 40


def test_an_id_is_encoded_where_no_id_of_ours_may_be_so() -> None:
    found = identity(message(properties={"message_id": "order:5"}))
    assert found.promise_id.startswith("shop.on_order.order%3A5.")
    assert found.message_id == "order:5"


def test_ids_of_bytes_that_are_no_text_stay_different() -> None:
    found = {identity(message(), lambda _, __, n=n: bytes([1, n])).promise_id for n in range(256)}
    assert len(found) == 256
