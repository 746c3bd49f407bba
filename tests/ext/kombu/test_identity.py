"""Identity: which id a message has, and what is said of one that has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kombu.message import Message

from resonate_amqp.errors import InvalidId, UsageError
from resonate_amqp.ext.kombu.identity import promise_id_of

ALL = {
    "headers": {"resonate:id": "header"},
    "properties": {"message_id": "message", "correlation_id": "correlation"},
}


def id_of(message: Message, own: Callable[..., Any] | None = None) -> str:
    return promise_id_of("on_order", message, ({"id": 5}, message), own)


@pytest.mark.parametrize(
    ("message", "own", "wanted"),
    [
        (ALL, lambda body, message: body["id"], "5"),
        (ALL, lambda body, message: None, "header"),
        (ALL, None, "header"),
        ({"properties": ALL["properties"]}, None, "message"),
        ({"properties": {"correlation_id": "correlation"}}, None, "correlation"),
        ({"headers": {"resonate:id": b"bytes"}}, None, "bytes"),
    ],
)
def test_the_first_of_function_header_message_id_and_correlation_id_counts(
    message: Any, own: Any, wanted: str
) -> None:
    assert id_of(Message(**message), own) == wanted


@pytest.mark.parametrize("own", [None, lambda body, message: [1]])
def test_a_message_without_an_id_is_an_error_that_says_what_to_do(own: Any) -> None:
    with pytest.raises(UsageError, match=r"'on_order' has no id .*set message_id.*id=lambda"):
        id_of(Message(), own)


def test_an_id_that_is_too_long_is_an_error() -> None:
    with pytest.raises(InvalidId, match="201 bytes"):
        id_of(Message(properties={"message_id": "x" * 201}))


def test_an_id_is_encoded_where_no_id_of_ours_may_be_so() -> None:
    assert id_of(Message(properties={"message_id": "order:5"})) == "order%3A5"


def test_ids_of_bytes_that_are_no_text_stay_different() -> None:
    found = {id_of(Message(), lambda _, __, n=n: bytes([0, n])) for n in range(256)}
    assert len(found) == 256
