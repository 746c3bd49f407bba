"""Plain values: what Kombu's JSON carries is recorded as plain JSON and comes back as it was."""

from __future__ import annotations

import json
import math
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import StrEnum
from http import HTTPStatus
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils import json as kombu_json

from resonate_amqp.errors import Encoding
from resonate_amqp.ext.plain import carried, flatten, rebuild
from resonate_amqp.wire.codec import decode, encode
from resonate_amqp.wire.typed import shape_of


class Pace(StrEnum):
    FAST = "fast"


class Pair(NamedTuple):
    left: int
    right: int


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    | st.datetimes()
    | st.times()
)
dumps: Callable[[Any], str] = kombu_json.dumps
loads: Callable[[str], Any] = kombu_json.loads

KEYS = st.text() | st.integers() | st.uuids() | st.sampled_from(["__type__", "__value__"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=20
)


@given(VALUES)
def test_what_is_recorded_comes_back_as_it_was(value: Any) -> None:
    assert rebuild(decode(encode(flatten(value)))) == value


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        date(2026, 1, 2),
        time(3, 4),
        Decimal("1.10"),
        uuid.UUID(int=7),
        b"text",
        b"\xff\x00",
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_marker_is_the_one_that_kombu_writes(value: Any) -> None:
    assert loads(dumps(flatten({"here": value}))) == {"here": value}
    assert type(rebuild(flatten(value))) is type(value)


def test_what_looks_like_a_marker_and_is_none_stays_what_it_is() -> None:
    fake = {"__type__": "datetime", "__value__": "2026-01-02"}
    assert rebuild(flatten([fake])) == [fake]


def test_numbers_that_json_has_no_word_for_come_back() -> None:
    low, high, none = rebuild(encodable(flatten([-math.inf, math.inf, math.nan])))
    assert (low, high, math.isnan(none)) == (-math.inf, math.inf, True)


def test_objects_that_describe_themselves_are_reduced_as_kombu_reduces_them() -> None:
    class Parcel:
        def __json__(self) -> dict[str, object]:
            return {"number": 3, "at": date(2026, 1, 2)}

    assert rebuild(flatten(Parcel())) == {"number": 3, "at": date(2026, 1, 2)}


def test_other_containers_come_as_the_plain_ones() -> None:
    value = OrderedDict(pair=(1, 2), raw=memoryview(b"raw"))
    assert rebuild(encodable(flatten(value))) == {"pair": [1, 2], "raw": b"raw"}


def test_values_of_derived_classes_come_as_json_makes_them() -> None:
    value = {Pace.FAST: [Pace.FAST, HTTPStatus.OK, Pair(1, 2)]}
    assert rebuild(encodable(flatten(value))) == {"fast": ["fast", 200, [1, 2]]}


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"items": [1, {2}]}, r"body\.items\[1\]: set is not a type that Kombu's JSON carries"),
        ({(1, 2): 3}, r"body: key \(1, 2\) is of type tuple"),
    ],
)
def test_what_cannot_be_carried_is_refused_by_its_place(value: Any, named: str) -> None:
    with pytest.raises(Encoding, match=named):
        flatten(value, "body")


def test_an_endless_value_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(Encoding, match="nested more than"):
        flatten(endless)


def test_a_marker_that_nobody_knows_is_refused_by_its_place() -> None:
    with pytest.raises(Encoding, match=r"value\.when: it is marked as 'moon'"):
        rebuild({"when": {"__type__": "moon", "__value__": 1}})


def encodable(plain: Any) -> Any:
    """What is read back from the record."""
    return decode(encode(plain))


@dataclass
class Weight:
    grams: Decimal


@pytest.mark.parametrize(
    ("annotation", "value", "back"),
    [
        (Any, {"day": date(2026, 1, 2)}, {"day": date(2026, 1, 2)}),
        (dict, {"price": Decimal("1.10")}, {"price": Decimal("1.10")}),
        (Decimal, Decimal("1.10"), Decimal("1.10")),
        (Weight, Weight(Decimal(3)), Weight(Decimal(3))),
        (tuple[int, bytes], (1, b"x"), (1, b"x")),
        (set[int], {3, 1}, {1, 3}),
        (dict, {"__type__": "date", "__value__": "2026-01-02"}, None),
        (Any, {"__type__": "date", "__value__": "2026-01-02"}, None),
        (int, 7, 7),
    ],
)
def test_values_are_carried_by_kombus_types_and_by_annotations(
    annotation: Any, value: Any, back: Any
) -> None:
    shape = carried(shape_of(annotation))
    assert carried(shape) is shape
    recorded = json.loads(json.dumps(shape.flatten(value, "value")))
    assert shape.rebuild(recorded, "value") == (value if back is None else back)


def test_what_neither_carries_is_refused_by_the_place_that_is_more_exact() -> None:
    with pytest.raises(Encoding, match=r"result\.tags: set .*sorted"):
        carried(shape_of(dict)).flatten({"tags": {1}}, "result")


@pytest.mark.parametrize("wrap", [lambda item: [item], lambda item: {"a": item}])
def test_a_value_may_be_nested_180_levels_deep_and_no_deeper(wrap: Callable[[Any], Any]) -> None:
    value: Any = 7
    for _ in range(180):
        value = wrap(value)
    assert rebuild(decode(encode(flatten(value)))) == value
    with pytest.raises(Encoding, match="nested more than 180 levels"):
        flatten(wrap(value))


@pytest.mark.parametrize("deepest", [Decimal(1), {1: 2}], ids=["a marked value", "a marked dict"])
def test_whatever_may_be_nested_so_deep_can_be_recorded(deepest: Any) -> None:
    value = deepest
    for _ in range(300):
        try:
            flatten([value])
        except Encoding:
            break
        value = [value]
    assert rebuild(decode(encode(flatten(value)))) == value
