"""Annotations: read once, as far as they can be resolved; arguments are rebuilt by them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Generator, Iterator
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from resonate_amqp.errors import UsageError
from resonate_amqp.runtime.registry import Registered, Registry, described
from tests.wire.kinds import Line, Person

if TYPE_CHECKING:
    from resonate_amqp.nowhere import Hidden  # type: ignore[import-not-found]  # is never there

DAY, LINE = date(2026, 1, 2), Line("a", Decimal("1.5"))
FLAT = {"sku": "a", "price": "1.5", "tags": []}


def takes(
    _ctx: Any,
    line: Line,
    /,
    day: date,
    *more: date,
    limit: Decimal | None = None,
    **others: Person,
) -> None:
    return None


def arguments(func: Any, *args: Any, **kwargs: Any) -> Any:
    return described(func, "f").arguments(list(args), kwargs)


def test_every_kind_of_parameter_is_rebuilt() -> None:
    person = {"name": "a", "born": "2026-01-02"}
    args, kwargs = arguments(takes, FLAT, "2026-01-02", "2026-01-02", limit="2", boss=person)
    assert args == [LINE, DAY, DAY]
    assert kwargs == {"limit": Decimal(2), "boss": Person(name="a", born=DAY)}


def test_a_default_of_none_may_be_given_where_the_annotation_forgets_it() -> None:
    def forgets(_ctx: Any, limit: Any = None) -> None:
        return None

    forgets.__annotations__["limit"] = Decimal
    assert arguments(forgets, limit=None)[1] == {"limit": None}
    assert arguments(forgets, "1.5")[0] == [Decimal("1.5")]


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        (({"sku": "a", "price": "x"}, "2026-01-02"), {}, "argument line.price: Invalid decimal"),
        ((FLAT,), {"day": "soon"}, "argument day: Invalid RFC3339 encoded date"),
        ((FLAT, "2026-01-02", 5), {}, r"argument args\[2\]: Expected `date`"),
        ((FLAT, "2026-01-02"), {"x": {"name": "a"}}, "argument x.born: Field required"),
        ((FLAT,), {}, "missing a required argument: 'day'"),
    ],
)
def test_what_does_not_fit_names_function_argument_and_place(
    args: tuple[Any, ...], kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=rf"^f\(.*{message}"):
        arguments(takes, *args, **kwargs)


def test_an_annotation_that_cannot_be_resolved_rebuilds_nothing_and_the_others_count() -> None:
    def func(ctx: Hidden, hidden: Hidden, day: date) -> Hidden:  # never called
        raise NotImplementedError

    assert arguments(func, {"a": 1}, "2026-01-02") == ([{"a": 1}, DAY], {})
    returns = described(func, "f").types.returns
    assert returns is not None
    assert "name 'Hidden' is not defined" in returns.refusal
    assert returns.rebuild({"a": 1}, "result") == {"a": 1}


def test_a_class_that_a_function_encloses_is_found() -> None:
    @dataclasses.dataclass
    class Own:
        day: date

    def func(_ctx: Any, own: Own) -> Own:
        return Own(own.day)

    assert arguments(func, {"day": "2026-01-02"}) == ([Own(DAY)], {})


class Service:
    def method(self, _ctx: Any, day: date) -> date:
        return day

    def __call__(self, _ctx: Any, day: date) -> date:
        return day


def plain(_ctx: Any, unit: str, day: date) -> date:
    return day


@functools.wraps(plain)
def wrapped(*args: Any) -> Any:
    return plain(*args)


@pytest.mark.parametrize(
    "func",
    [Service().method, Service(), functools.partial(plain, unit="a"), wrapped],
    ids=["method", "object", "partial", "wrapped"],
)
def test_whatever_can_be_called_is_read(func: Any) -> None:
    given = {"unit": "a", "day": "2026-01-02"} if func is wrapped else {"day": "2026-01-02"}
    assert described(func, "f").types.at("day") is not None
    assert arguments(func, **given)[1]["day"] == DAY


def test_a_function_of_args_alone_types_what_follows_the_context() -> None:
    def func(*args: Any, **kwargs: date) -> None:
        return None

    assert arguments(func, 1, at="2026-01-02") == ([1], {"at": DAY})


def generates(_ctx: Any) -> Generator[Any, Any, Line]:
    yield
    return LINE


def iterates(_ctx: Any) -> Iterator[Line]:
    yield LINE


async def awaits(_ctx: Any) -> Line:
    return LINE


def returns(func: Any) -> str:
    shape = described(func, "f").types.returns
    return shape.name if shape else ""


def test_the_result_is_what_a_generator_returns() -> None:
    assert returns(generates) == "Line"
    assert returns(awaits) == "Line"
    assert returns(plain) == "date"
    assert returns(iterates) == ""
    assert returns(takes) == ""


def test_annotations_are_read_once_per_function() -> None:
    registry = Registry()
    added = registry.register(plain)
    assert registry.find("plain") is added
    assert registry.described(awaits, "a") is registry.described(awaits, "a")


def test_a_function_object_stands_for_its_latest_registration() -> None:
    registry = Registry()
    registry.register(plain, version=2)
    registry.register(plain, version=3)
    registry.register(plain, version=1)

    def version(found: Registered | None) -> int:
        return found.version if found else 0

    assert version(registry.of(plain)) == 3
    assert version(registry.of(awaits)) == 0
    assert registry.several("plain")
    assert not registry.several("awaits")


def test_an_error_type_is_registered_once_per_name() -> None:
    registry = Registry()
    registry.register_error(KeyError, "gone")
    registry.register_error(KeyError, "gone")
    with pytest.raises(UsageError, match=r"'gone' are registered already, as KeyError"):
        registry.register_error(ValueError, "gone")
    with pytest.raises(UsageError, match="not a subclass of Exception"):
        registry.register_error(KeyboardInterrupt)
    with pytest.raises(UsageError, match="not a subclass of Exception"):
        registry.register_error("KeyError")
