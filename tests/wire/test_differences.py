"""Differences: an error shows both calls, in short, and where they part."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resonate_amqp.core.model import Value
from resonate_amqp.wire.codec import encode, encode_call
from resonate_amqp.wire.differences import difference_of

TREE: dict[str, Any] = {"lines": [{"sku": "a", "qty": 1}, {"sku": "b", "qty": 2}], "note": None}


def told(was: tuple[Any, ...], now: tuple[Any, ...], **kwargs: Any) -> str:
    return difference_of(encode_call("f", 1, was, {}), encode_call("f", 1, now, kwargs))


@pytest.mark.parametrize(
    ("was", "now", "place", "values"),
    [
        (("book",), ("pen",), "args[0]", "'book', 'pen'"),
        ((1, 2), (1,), "args[1]", "2, nothing"),
        ((1,), (1, None), "args[1]", "nothing, None"),
        ((TREE,), (TREE | {"note": "x"},), "args[0].note", "None, 'x'"),
        ((TREE,), (TREE | {"lines": TREE["lines"][:1]},), "args[0].lines[1]", "nothing"),
        ((TREE,), (TREE | {"gift": True},), "args[0].gift", "nothing, True"),
        (([1, {"a": 2}],), ([1, {"a": "2"}],), "args[0][1].a", "2, '2'"),
        (([1],), ({"a": 1},), "args[0]", "[1], {'a': 1}"),
        (("x" * 5_000 + "a",), ("x" * 5_000 + "b",), "args[0]", "…'" + "x" * 15 + "a', …'"),
        (("y" * 100,), ("y" * 5_000,), "args[0]", "…'" + "y" * 15 + "', …'" + "y" * 45 + "'…"),
    ],
)
def test_the_first_difference_is_named_by_its_place(
    was: tuple[Any, ...], now: tuple[Any, ...], place: str, values: str
) -> None:
    text = told(was, now)
    assert f"first difference at {place}: " in text
    assert values in text.partition("first difference")[2]


def test_both_calls_are_shown() -> None:
    assert told((1, "a"), (1, "b"), count=2).startswith("recorded (1, 'a'), now (1, 'b', count=2);")


def test_data_that_is_no_call_is_compared_as_it_is() -> None:
    both, _, first = difference_of(encode({"n": 1}), encode({"n": 2})).partition("; ")
    assert both == "recorded {'n': 1}, now {'n': 2}"
    assert first == "first difference at data.n: 1, 2"


def test_a_message_is_compared_after_the_arguments() -> None:
    messages: list[dict[str, Any]] = [{"body": body, "headers": {}} for body in ("a", "b")]
    recorded, asked = (encode_call("f", 1, (), {}, message=one) for one in messages)
    assert "first difference at message.body: 'a', 'b'" in difference_of(recorded, asked)


@pytest.mark.parametrize("data", ["*", "AAA", "bm90IGpzb24="])
def test_what_cannot_be_read_is_said_to_be_so(data: str) -> None:
    asked = encode_call("f", 1, (1,), {})
    assert "cannot be read" in difference_of(Value({}, data), asked)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
)


@given(values, values)
def test_it_is_short_and_fails_for_no_value(was: Any, now: Any) -> None:
    assert len(difference_of(encode(was), encode(now))) < 1_000
    assert len(told((was, was), (was, now))) < 1_000


def test_it_is_short_for_large_values() -> None:
    was: dict[str, Any] = {f"key {n}": ["x" * 50, {"n": n}] for n in range(5_000)}
    text = told((was,), (was | {"key 4999": ["y" * 50, {"n": 0}]},))
    assert "args[0].key 4999[0]" in text
    assert len(text) < 1_000


def test_calls_that_are_malformed_are_shown_as_they_are() -> None:
    odd = encode({"func": "f", "args": 3, "kwargs": []})
    assert "first difference at args" in difference_of(odd, encode_call("f", 1, (1,), {}))
