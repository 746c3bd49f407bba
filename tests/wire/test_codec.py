"""Values: what JSON can hold comes back as it was, and everything else is refused by its place."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from decimal import Decimal
from enum import IntEnum, StrEnum
from http import HTTPStatus
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resonate_amqp.core.model import EMPTY, Value
from resonate_amqp.errors import Encoding
from resonate_amqp.wire.codec import (
    MAX_VALUE_BYTES,
    Call,
    decode,
    decode_call,
    encode,
    encode_call,
)

text = st.text(st.characters(codec="utf-8"))
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    text,
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(text, inner), max_leaves=20
)


@given(values)
def test_a_json_value_comes_back_as_it_was(value: Any) -> None:
    assert decode(encode(value)) == value


@given(func=names, args=st.lists(values, max_size=3), kwargs=st.dictionaries(text, values))
def test_a_call_comes_back_as_it_was(func: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    param = encode_call(func, 3, tuple(args), kwargs)
    assert decode_call(param) == Call(func, args, kwargs, 3)
    assert param.headers == {"func": func, "version": "3"}


@pytest.mark.parametrize("value", [2**63, -(2**64), 10**1000])
def test_an_integer_may_be_longer_than_64_bits(value: int) -> None:
    assert decode(encode(value)) == value


def test_an_integer_that_python_does_not_print_is_refused_by_its_place() -> None:
    with pytest.raises(Encoding, match=r"args\[0\]\.n: .*4300 digits"):
        encode_call("f", 1, ({"n": 10**5000},), {})


def test_tuples_come_back_as_lists() -> None:
    assert decode(encode((1, (2, 3), {"a": ()}))) == [1, [2, 3], {"a": []}]


def test_nothing_is_recorded_for_none() -> None:
    assert encode(None) is EMPTY
    assert decode(EMPTY) is None


class Pair(NamedTuple):
    left: int
    right: int


class Rows(list[int]):
    pass


class Mode(StrEnum):
    FAST = "fast"


class Size(IntEnum):
    LARGE = 2


class Markup(str):
    """As Django's safe strings: `str(x)` is one again."""

    __slots__ = ()

    def __str__(self) -> str:
        return self


class Number(float):
    """As numpy's."""


class Bag(dict[str, int]):
    pass


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (defaultdict(int, a=1), r"defaultdict is .* derived from dict.*plain dict; pass dict\(x\)"),
        (OrderedDict(a=1), r"pass dict\(x\), or annotate .* with OrderedDict\["),
        (Counter("a"), r"pass dict\(x\), or annotate .* with Counter\["),
        (Bag(a=1), r"pass dict\(x\)$"),
        (Rows([1]), r"Rows is .* derived from list.*pass list\(x\)$"),
        (Pair(1, 2), r"come back as a plain list; pass tuple\(x\), or annotate .* with Pair$"),
        (Mode.FAST, r"pass its value \(x.value\), or annotate .* with Mode$"),
        (Size.LARGE, r"derived from int.*pass its value \(x.value\), or annotate .* with Size$"),
        (HTTPStatus.OK, r"derived from int.*x\.value"),
        (Markup("<b>"), r'pass a plain str, such as ""\.join\(x\)$'),
        (Number(2), r"Number is .* derived from float.*pass float\(x\)$"),
        ({Mode.FAST: 1}, r"^key 'fast' is of type Mode, and would come back as a plain string"),
    ],
)
def test_what_json_would_make_its_base_of_is_refused_by_its_place(value: Any, problem: str) -> None:
    with pytest.raises(Encoding) as refused:
        encode_call("f", 1, (), {"order": {"items": [0, value]}})
    assert refused.value.path == "kwargs.order.items[1]"
    assert re.search(problem, refused.value.problem)


def test_each_remedy_makes_a_value_that_is_recorded() -> None:
    plain: list[Any] = [
        dict(defaultdict(int, a=1)),
        list(Rows([1])),
        tuple(Pair(1, 2)),
        Mode.FAST.value,
    ]
    plain += [Size.LARGE.value, "".join(Markup("<b>")), float(Number(2))]
    assert decode(encode(plain)) == [{"a": 1}, [1], [1, 2], "fast", 2, "<b>", 2.0]


def _loop() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    ("value", "path", "problem"),
    [
        ({"price": float("nan")}, "args[0].price", "nan is not a JSON number"),
        ([1, float("inf")], "args[0][1]", "inf is not a JSON number"),
        ({"a": [{1, 2}]}, "args[0].a[0]", "set is not a JSON type"),
        (b"raw", "args[0]", "bytes is not a JSON type"),
        (Decimal(1), "args[0]", "Decimal is not a JSON type"),
        ({"a": {1: 2}}, "args[0].a", "key 1 is of type int, not a string"),
        ({"a": "x\ud800"}, "args[0].a", "lone surrogate"),
        ({"\udfff": 1}, "args[0]", "lone surrogate"),
        (_loop(), "args[0]" + "[0]" * 201, "nested more than 200 levels"),
    ],
)
def test_what_json_cannot_hold_is_refused_by_its_place(value: Any, path: str, problem: str) -> None:
    with pytest.raises(Encoding) as refused:
        encode_call("f", 1, (value,), {})
    assert refused.value.path == path
    assert problem in refused.value.problem


def test_a_keyword_argument_is_named_by_its_keyword() -> None:
    with pytest.raises(Encoding, match=r"^kwargs\.when: set"):
        encode_call("f", 1, (), {"when": set()})


@pytest.mark.parametrize(
    ("func", "kwargs", "path"),
    [("f\ud800", {}, "func"), ("f", {"\ud800": 1}, "kwargs")],
)
def test_a_lone_surrogate_in_a_name_is_refused(
    func: str, kwargs: dict[str, int], path: str
) -> None:
    with pytest.raises(Encoding, match=f"^{path}: .*lone surrogate"):
        encode_call(func, 1, (), kwargs)


def test_a_value_of_one_mebibyte_is_recorded_and_a_longer_one_is_refused() -> None:
    longest = "x" * (MAX_VALUE_BYTES - 2)
    assert decode(encode(longest)) == longest
    with pytest.raises(Encoding, match=r"^result: .*1048577 bytes.*pass a reference"):
        encode(longest + "x", "result")


def test_arguments_are_measured_together() -> None:
    half = "x" * (MAX_VALUE_BYTES // 2)
    with pytest.raises(Encoding, match=r"^arguments: "):
        encode_call("f", 1, (half, half), {})


def _recorded(raw: bytes) -> Value:
    return Value({}, base64.b64encode(raw).decode())


@pytest.mark.parametrize(
    "value",
    [
        Value({}, "*"),
        Value({}, "AAA"),
        Value({}, "é"),
        _recorded(b"\xff"),
        _recorded(b"{"),
        _recorded(b"NaN"),
        _recorded(b"[" * 100_000),
        _recorded(b"1" * 5000),
    ],
    ids=["letters", "length", "accent", "utf-8", "json", "nan", "depth", "digits"],
)
def test_recorded_data_that_cannot_be_read_is_an_encoding_error(value: Value) -> None:
    with pytest.raises(Encoding, match="recorded data is not base64 of JSON"):
        decode(value)


@pytest.mark.parametrize(
    "call",
    [
        None,
        3,
        {},
        {"func": 1},
        {"func": "f", "args": {}},
        {"func": "f", "kwargs": []},
        {"func": "f", "version": "1"},
    ],
)
def test_a_param_that_is_no_call_is_an_encoding_error(call: Any) -> None:
    with pytest.raises(Encoding, match=r"^param: "):
        decode_call(_recorded(json.dumps(call).encode()))


@pytest.mark.parametrize("wrap", [lambda item: [item], lambda item: {"a": item}])
def test_a_value_may_be_nested_200_levels_deep_and_no_deeper(wrap: Callable[[Any], Any]) -> None:
    value: Any = wrap(7)
    for _ in range(200):
        value = wrap(value)
    assert decode(encode(value)) == value
    with pytest.raises(Encoding, match="nested more than 200 levels"):
        encode(wrap(value))


def test_an_integer_may_have_as_many_digits_as_python_prints() -> None:
    longest = 2**14_284 - 1
    assert decode(encode(longest)) == longest
    with pytest.raises(Encoding, match="more than 4300 digits"):
        encode(longest + 1)
