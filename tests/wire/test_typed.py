"""Typed values: what an annotation rebuilds comes back as it was, and nothing changes silently."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict, namedtuple
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resonate_amqp.errors import Encoding
from resonate_amqp.wire.codec import decode, decode_call, encode, encode_call
from resonate_amqp.wire.typed import Types, shape_of
from tests.wire.kinds import (
    Ballot,
    Card,
    Colour,
    Firm,
    Guest,
    Held,
    Later,
    Level,
    Line,
    Loose,
    Opaque,
    Options,
    Order,
    Party,
    Person,
    Point,
    Priority,
    Size,
    Tally,
    Text,
    Transfer,
    Unknown,
)

Pair = namedtuple("Pair", ["left", "right"])  # without types, on purpose
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
DAY = date(2026, 1, 2)
LINE = Line("a", Decimal("1.10"), frozenset({"x", "y", "z"}))
ORDER = Order(UUID(int=7), [LINE], NOW)


def back(value: Any, annotation: Any) -> Any:
    """The value as a reader of that annotation gets it."""
    shape = shape_of(annotation)
    recorded = decode(encode(value, "value", shape))
    return recorded if shape is None else shape.rebuild(recorded, "value")


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (ORDER, Order),
        ([ORDER], list[Order]),
        ({"a": LINE}, dict[str, Line]),
        ((LINE, LINE), tuple[Line, ...]),
        ((1, DAY), tuple[int, date]),
        (None, Order | None),
        (ORDER, Order | None),
        (NOW, datetime),
        (NOW.replace(tzinfo=None), datetime),
        (DAY, date),
        (time(1, 2, 3), time),
        (timedelta(days=-3, microseconds=1), timedelta),
        (Decimal("0.10"), Decimal),
        (UUID(int=3), UUID),
        (b"\0\xff", bytes),
        ({1, 2}, set[int]),
        (frozenset({NOW}), frozenset[datetime]),
        (Colour.RED, Colour),
        (Size.LARGE, Size),
        (Level.LOW, Level),
        ("fast", Literal["fast", "slow"]),
        (Point(1, DAY), Point),
        ({"until": DAY, "mode": "fast"}, Options),
        (Card("1", DAY), Card | Transfer),
        (Transfer("1", b"k"), Card | Transfer),
        (Person(name="a", born=DAY, tags={"x", "y"}), Person),
        (Firm(title="a", founded=NOW), Firm),
        ([Person(name="a", born=DAY)], list[Person] | None),
        ([Person(name="a", born=DAY), Firm(title="b", founded=NOW)], list[Person | Firm]),
        ({DAY: 1}, dict[date, int]),
        ({1: "a"}, dict[int, str]),
        ({UUID(int=1): Colour.RED}, dict[UUID, Colour]),
        ({Colour.RED: UUID(int=1)}, dict[Colour, UUID]),
        ([DAY], Sequence[date]),
        ({"a": DAY}, Mapping[str, date]),
        (Loose({"a": [1, None]}), Loose),
        (Loose(10**30), Loose),
        (10**30, int),
        ({"n": -(10**30)}, dict[str, int]),
        (3, Annotated[int, msgspec.Meta(gt=0)]),
        (1, Any),
        (OrderedDict(b=1, a=2), OrderedDict),
        (OrderedDict(b=1, a=2), OrderedDict[str, int]),
        (OrderedDict([(DAY, LINE)]), OrderedDict[date, Line]),
        (OrderedDict(b=ORDER), OrderedDict[str, Order] | None),
        (OrderedDict(b={"x", "y"}), OrderedDict[str, set[str]]),
        ([OrderedDict(b=Person(name="a", born=DAY))], list[OrderedDict[str, Person]]),
        (OrderedDict(b=OrderedDict(a=DAY)), OrderedDict[str, OrderedDict[str, date]]),
        (Counter("abba"), Counter[str]),
        (Counter({2: 3}), Counter[int]),
        (Counter(), Counter),
        (Ballot(Counter("aab"), OrderedDict(b=DAY, a=DAY)), Ballot),
        (Tally(votes=Counter("aab"), order=OrderedDict(b=1, a=2)), Tally),
        ({Level.LOW: 1}, dict[Level, int]),
        ({Size.LARGE: Size.SMALL}, dict[Size, Size]),
        (Pair(1, 2), Pair),
    ],
)
def test_a_value_comes_back_as_the_type_of_its_annotation(value: Any, annotation: Any) -> None:
    again = back(value, annotation)
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize("annotation", [OrderedDict, OrderedDict[str, int], dict[str, Any] | None])
def test_a_dictionary_keeps_its_order(annotation: Any) -> None:
    value = (dict if annotation not in (OrderedDict, OrderedDict[str, int]) else OrderedDict)(
        b=1, a=2
    )
    assert list(back(value, annotation)) == ["b", "a"]


def test_a_class_without_equality_comes_back_too() -> None:
    again = back(Opaque(DAY), Opaque)
    assert isinstance(again, Opaque)
    assert again.at == DAY


@pytest.mark.parametrize(
    ("value", "annotation", "path", "problem"),
    [
        ({"at": NOW}, dict[str, Any], "value.at", "datetime is not a JSON type"),
        ({"a": [{"c": Colour.RED}]}, dict[str, Any], "value.a[0].c", "makes a str of it"),
        ([LINE], list[Any], "value[0]", "Line is not a JSON type.*makes a dict of it"),
        ([LINE], list, "value[0]", "makes a dict of it"),
        (Loose({1, 2}), Loose, "value.anything", "set is not a JSON type"),
        (Priority("a", Decimal(1)), Line, "value", "Priority is not .* makes a Line of it"),
        (Person(name="a", born=DAY), dict, "value", "Person is not .* makes a dict of it"),
        ({1: 2}, dict, "value", "keys that are no strings"),
        ({1: 2}, dict[str, int], "value", "keys that are no strings"),
        (Decimal(1), str, "value", "makes a str of it"),
        (Decimal(1), float, "value", "Decimal does not fit annotation float"),
        (bytearray(b"a"), bytes, "value", "bytearray is not"),
        (NOW, datetime | str, "value", "cannot rebuild it: .*str-like"),
        (LINE, Line | Order, "value", "cannot rebuild it: .*dataclass"),
        (Unknown(), Unknown, "value", "nobody knows how to make a Unknown"),
        (Loose(Unknown()), Loose, "value.anything", "Unknown is not a JSON type"),
        (Loose([0, Text("a")]), Loose, "value.anything[1]", "Text is .* derived from str"),
        (Loose(defaultdict(list)), Loose, "value.anything", r"makes a dict of it; pass dict\(x\)"),
        (Loose(Size.LARGE), Loose, "value.anything", r"makes a int of it; pass its value"),
        (Loose({Level.LOW: 1}), Loose, "value.anything", "keys that are no strings"),
        (Loose(Point(1, DAY)), Loose, "value.anything", "Point is not a JSON .*pass tuple"),
        (OrderedDict(a=1), dict[str, int], "value", "OrderedDict is not .*makes a dict of it"),
        (OrderedDict(a=1), Mapping[str, int], "value", "OrderedDict is not .*makes a dict of it"),
        (OrderedDict({1: 1}), OrderedDict, "value", "keys that are no strings"),
        (OrderedDict(b={"x"}, a=set()), OrderedDict[str, set[str]], "value", "order of its keys"),
        (defaultdict(int), defaultdict[str, int], "value", r"nobody knows .* pass dict\(x\)"),
        (Level.LOW, str, "value", "Level is not .*makes a str of it; pass its value"),
        (Size.LARGE, int, "value", "Size is not .*makes a int of it; pass its value"),
        (Size.LARGE, float, "value", "Size is not .*makes a float of it; pass its value"),
        (Point(1, DAY), tuple[int, date], "value", r"makes a tuple of it; pass tuple\(x\)"),
        (frozenset({1}), set[int], "value", "frozenset is not .*makes a set of it"),
        (Later.now(), datetime, "value", "Later is not a JSON type"),
        (Held(anything=defaultdict(int)), Held, "value.anything", "makes a dict of it"),
        (Held(anything=[Level.LOW]), Held, "value.anything[0]", "makes a str of it"),
        (
            Held.model_validate({"anything": 1, "more": Counter("a")}),
            Held,
            "value.more",
            "makes a dict of it",
        ),
        (Party(host=Guest(name="a", born=DAY)), Party, "value.host", "makes a Person of it"),
        (Loose(float("nan")), Loose, "value.anything", "not a JSON number"),
        (Loose("\ud800"), Loose, "value.anything", "lone surrogate"),
        (Loose(10**5000), Loose, "value.anything", "4300 digits"),
        (float("inf"), float, "value", "not a JSON number"),
    ],
)
def test_what_would_come_back_as_something_else_is_refused_by_its_place(
    value: Any, annotation: Any, path: str, problem: str
) -> None:
    with pytest.raises(Encoding, match=problem) as refused:
        encode(value, "value", shape_of(annotation))
    assert refused.value.path == path


@pytest.mark.parametrize(
    ("recorded", "annotation", "path", "problem"),
    [
        ("1", int, "value", "Expected `int`, got `str`"),
        ([1, "2"], list[int], "value[1]", "Expected `int`, got `str`"),
        ({"sku": "a", "price": "dear"}, Line, "value.price", "Invalid decimal"),
        ({"sku": "a"}, Line, "value", "missing required field `price`"),
        ({"name": "a", "born": "never"}, Person, "value.born", "valid date"),
        ([{"name": "a", "born": "never"}], list[Person], "value[0].born", "valid date"),
        ([{"title": 1}], list[Person | Firm], "value[0].Person.name", "required"),
        ("purple", Colour, "value", "Invalid enum value"),
        (None, Line, "value", "got `null`"),
        (0, Annotated[int, msgspec.Meta(gt=0)], "value", "Expected `int` >= 1"),
        ("no base64!", bytes, "value", "base64"),
        ({"a": "x"}, Counter[str], "value", "Expected `int`, got `str`"),
        ([1], OrderedDict, "value", "Expected `object`, got `array`"),
        ([{"a": [1]}], list[OrderedDict[str, list[str]]], "value[0]", "Expected `str`, got `int`"),
    ],
)
def test_what_does_not_fit_an_annotation_is_refused_by_its_place(
    recorded: Any, annotation: Any, path: str, problem: str
) -> None:
    shape = shape_of(annotation)
    assert shape is not None
    with pytest.raises(Encoding, match=problem) as refused:
        shape.rebuild(recorded, "value")
    assert refused.value.path == path


def test_a_plain_result_that_does_not_fit_is_refused_where_it_is_made() -> None:
    with pytest.raises(Encoding, match=r"^result: Expected `int`, got `str`"):
        encode("1", "result", shape_of(int))


@pytest.mark.parametrize("annotation", [Unknown, Line | Order, datetime | str, list[Unknown]])
def test_plain_json_passes_an_annotation_that_rebuilds_nothing(annotation: Any) -> None:
    assert back({"a": [1]}, annotation) == {"a": [1]}


def test_a_datetime_keeps_its_instant_and_offset_and_loses_its_zone() -> None:
    local = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Paris"))
    again = back(local, datetime)
    assert again == local
    assert again.utcoffset() == timedelta(hours=2)
    assert not isinstance(again.tzinfo, ZoneInfo)


def test_unknown_fields_are_ignored_and_missing_ones_get_their_default() -> None:
    shape = shape_of(Line)
    assert shape is not None
    flat = {"sku": "a", "price": "1.5", "colour": "red"}
    assert shape.rebuild(flat, "value") == Line("a", Decimal("1.5"))


def test_any_says_nothing() -> None:
    assert shape_of(Any) is None
    assert shape_of(object) is None


scalars = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False),
    st.datetimes(timezones=st.just(UTC)),
    st.uuids(),
    st.binary(),
    st.timedeltas(),
)


@given(st.lists(st.builds(Loose, st.text(st.characters(codec="utf-8")) | st.integers())))
def test_whatever_json_a_dataclass_holds_comes_back(values: list[Loose]) -> None:
    assert back(values, list[Loose]) == values


@given(scalars)
def test_every_scalar_comes_back_exactly(value: Any) -> None:
    assert back([value], list[type(value)]) == [value]  # type: ignore[misc]  # made at run time


def test_arguments_are_encoded_by_their_parameters_and_further_ones_by_theirs() -> None:
    types = Types(
        parameters=(("order", shape_of(Order)), ("note", None)),
        keywords={"order": shape_of(Order), "note": None},
        rest=shape_of(date),
        others=shape_of(Decimal),
    )
    param = encode_call("f", 1, (ORDER, "n", DAY), {"tip": Decimal("0.5")}, types)
    call = decode_call(param)
    assert types.rebuild(call.args, call.kwargs) == ([ORDER, "n", DAY], {"tip": Decimal("0.5")})
    with pytest.raises(
        Encoding, match=r"^args\[1\]: Decimal is not a JSON type, and no annotation"
    ):
        encode_call("f", 1, (ORDER, Decimal(1)), {}, types)


SETS = """
from tests.wire.kinds import Line, Person
from resonate_amqp.wire.codec import encode
from resonate_amqp.wire.typed import shape_of
from decimal import Decimal
from datetime import date
names = {f"tag {n}" for n in range(50)}
print(encode(Line("a", Decimal(1), frozenset(names)), "v", shape_of(Line)).data)
print(encode(Person(name="a", born=date(2000, 1, 1), tags=names), "v", shape_of(Person)).data)
"""


def test_a_set_is_recorded_alike_by_every_process() -> None:
    def recorded(seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        root = Path(__file__).parents[2]
        done = subprocess.run(
            [sys.executable, "-c", SETS], env=environment, cwd=root, capture_output=True, check=True
        )
        return done.stdout.decode()

    assert recorded("1") == recorded("2") != ""


def test_pydantic_is_not_imported_for_other_types() -> None:
    code = (
        "import sys, dataclasses, datetime\n"
        "from resonate_amqp.wire.typed import shape_of\n"
        "@dataclasses.dataclass\n"
        "class A: at: datetime.date\n"
        "shape_of(list[A]).flatten([A(datetime.date.today())], 'a')\n"
        "sys.exit('pydantic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
