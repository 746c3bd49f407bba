"""Typed arguments and results: the same wherever they are read, live as on replay."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Generator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from resonate_amqp import Context, Encoding, RemoteError, Resonate
from tests.wire.kinds import Line, Person, Point

Body = Generator[Any, Any, Any]
WAIT_S = 10
DAY = date(2026, 1, 2)
LINE = Line("a", Decimal("1.5"), frozenset({"x", "y"}))
PERSON = Person(name="a", born=DAY)


def double(_ctx: Context, line: Line) -> Line:
    return dataclasses.replace(line, price=line.price * 2)


def greet(_ctx: Context, person: Person, *days: date) -> tuple[Person, list[date]]:
    return person, [*days]


def kinds(_ctx: Context, *things: Any) -> list[str]:
    return [type(one).__name__ for one in things]


def test_arguments_and_results_are_typed_for_callers_outside(resonate: Resonate) -> None:
    function = resonate.register(double)
    resonate.register(greet)
    expected = dataclasses.replace(LINE, price=Decimal(3))
    assert resonate.rpc("by-name", "double", LINE).result(WAIT_S) == expected
    assert resonate.rpc("by-object", double, line=LINE).result(WAIT_S) == expected
    assert function.run("here", LINE).result(WAIT_S) == expected
    assert resonate.rpc("model", "greet", PERSON, DAY).result(WAIT_S) == (PERSON, [DAY])
    assert resonate.get("by-name").result(WAIT_S) == expected


def test_plain_json_is_a_typed_argument_too(resonate: Resonate) -> None:
    resonate.register(double)
    flat = {"sku": "a", "price": "1.5", "tags": ["x", "y"]}
    assert resonate.rpc("flat", "double", flat).result(WAIT_S).price == 3


@pytest.mark.parametrize("how", ["rfc", "lfc"])
def test_a_workflow_sees_typed_results(resonate: Resonate, how: str) -> None:
    resonate.register(double)

    @resonate.register
    def flow(ctx: Context, line: Line) -> Generator[Any, Any, Line]:
        call = getattr(ctx, how)
        one: Line = yield call("double", line)
        promise = yield getattr(ctx, how[0] + "fi")(double, one)
        other: Line = yield promise
        assert type(one) is type(other) is Line
        return other

    assert resonate.rpc("flow", flow, LINE).result(WAIT_S).price == 6


def test_a_step_that_is_not_registered_is_typed_by_its_own_annotations(
    resonate: Resonate,
) -> None:
    def step(_ctx: Context, day: date) -> set[date]:
        return {day}

    @resonate.register
    def flow(ctx: Context) -> Body:
        days = yield ctx.lfc(step, DAY)
        return (yield ctx.lfc(kinds, [str(day) for day in days], len(days)))

    assert resonate.rpc("flow", flow).result(WAIT_S) == ["list", "int"]


def test_an_option_names_the_type_where_no_annotation_does(resonate: Resonate) -> None:
    resonate.register(lambda _ctx: {"sku": "a", "price": "1.5"}, name="bare")

    @resonate.register
    def flow(ctx: Context) -> Body:
        remote = yield ctx.rfc("bare").options(returns=Line)
        local = yield ctx.lfc(lambda _ctx: LINE).options(returns=Line)
        return (yield ctx.lfc(kinds, remote.sku, remote.price == local.price))

    assert resonate.rpc("flow", flow).result(WAIT_S) == ["str", "bool"]
    assert resonate.options(returns=Line).rpc("bare-1", "bare").result(WAIT_S) == Line(
        "a", Decimal("1.5")
    )
    assert resonate.options(returns=Line).get("bare-1").result(WAIT_S).sku == "a"
    assert resonate.get("bare-1").result(WAIT_S) == {"sku": "a", "price": "1.5"}


def test_a_call_by_object_to_another_group_is_typed(resonate: Resonate) -> None:
    with pytest.raises(TimeoutError):
        resonate.options(target="elsewhere").rpc("there", double, LINE).result(0.01)
    resonate.promises.resolve("there", {"sku": "b", "price": "7"})
    assert resonate.options(target="elsewhere").rpc("there", double, LINE).result(WAIT_S) == Line(
        "b", Decimal(7)
    )


def test_a_type_that_no_annotation_tells_is_refused_with_a_remedy(resonate: Resonate) -> None:
    with pytest.raises(Encoding, match=r"^args\[0\]: Line is not .* call the function by its obj"):
        resonate.options(target="elsewhere").rpc("id", "double", LINE)

    @resonate.register
    def flow(ctx: Context) -> Body:
        try:
            yield ctx.rfc("double", [{"price": Decimal(1)}]).options(target="elsewhere")
        except Encoding as error:
            return str(error)

    message = resonate.rpc("flow", flow).result(WAIT_S)
    assert message.startswith("args[0][0].price: Decimal is not a JSON type, and no annotation")


def test_an_argument_that_does_not_fit_rejects_the_call(resonate: Resonate) -> None:
    ran = []

    @resonate.register
    def takes(_ctx: Context, line: Line) -> None:
        ran.append(line)

    @resonate.register
    def flow(ctx: Context, line: Line) -> Body:
        yield ctx.lfc(takes, line)

    for name in ("takes", "flow"):
        with pytest.raises(TypeError, match=rf"{name}\(.*: argument line.price: Invalid decimal"):
            resonate.rpc(name, name, {"sku": "a", "price": "much"}).result(WAIT_S)
    assert ran == []


def test_a_result_that_does_not_fit_rejects_the_call(resonate: Resonate) -> None:
    resonate.register(lambda _ctx: "x", name="f")

    @resonate.register
    def wrong(_ctx: Context) -> Line:
        return None  # type: ignore[return-value]  # the mistake under test

    with pytest.raises(RemoteError, match=r"result: Expected `object`, got `null`"):
        resonate.rpc("wrong", wrong).result(WAIT_S)
    with pytest.raises(Encoding, match=r"result of 'other': Expected `int`, got `str`"):
        resonate.options(returns=int).rpc("other", "f").result(WAIT_S)


def test_tuples_come_back_as_annotated(resonate: Resonate) -> None:
    def pair(_ctx: Context) -> tuple[int, int]:
        return 1, 2

    def point(_ctx: Context) -> Point:
        return Point(1, DAY)

    @resonate.register
    def flow(ctx: Context) -> Body:
        one = yield ctx.lfc(pair)
        other = yield ctx.lfc(point)
        return [type(one).__name__, type(other).__name__, other.x]

    assert resonate.rpc("flow", flow).result(WAIT_S) == ["tuple", "Point", 1]


def test_a_body_sees_the_same_values_live_and_on_replay(tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path / 'l.db'}"
    seen: list[tuple[Any, ...]] = []
    asked = threading.Event()

    def steps(made: Resonate) -> None:
        @made.register
        def flow(ctx: Context, line: Line, *days: date) -> Generator[Any, Any, Line]:
            doubled = yield ctx.lfc(double, line)
            person, born = yield ctx.lfc(greet, PERSON, *days)
            remote: Line = yield ctx.rfc("double", doubled)
            seen.append((line, days, doubled, person, born, remote))
            promise = yield ctx.promise()
            yield ctx.lfc(tell, promise.id)
            yield promise
            return remote

        def tell(_ctx: Context, promise_id: str) -> str:
            asked.set()
            return promise_id

        made.register(double)

    first = Resonate(ledger=ledger, group="g", grace=1)
    steps(first)
    first.rpc("flow", "flow", LINE, DAY)
    assert asked.wait(WAIT_S)
    first.stop()
    second = Resonate(ledger=ledger, group="g", grace=1)
    try:
        steps(second)
        handle = second.get("flow")
        pending = [one.id for one, _ in second.tree("flow") if one.pending and one.id != "flow"]
        second.promises.resolve(pending[0])
        assert handle.result(WAIT_S) == dataclasses.replace(LINE, price=Decimal(6))
    finally:
        second.stop()
    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert [type(one) for one in seen[0]] == [type(one) for one in seen[1]]
