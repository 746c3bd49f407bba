"""Versions side by side: which one runs, and that a running promise keeps its own."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

import pytest

from resonate_amqp import Context, Embedded, Resonate, UnknownFunction
from resonate_amqp.wire.codec import decode_call

Body = Generator[Any, Any, Any]
WAIT_S = 10


def old(_ctx: Context) -> str:
    return "old"


def new(_ctx: Context) -> str:
    return "new"


@pytest.fixture
def both(resonate: Resonate) -> Resonate:
    resonate.register(old, name="f", version=1)
    resonate.register(new, name="f", version=2)
    return resonate


def member(system: Embedded) -> Resonate:
    return Resonate(system=system, group="g", grace=1)


def version_of(resonate: Resonate, promise_id: str) -> int:
    return decode_call(resonate.promises.get(promise_id).param).version


def test_a_caller_outside_chooses_a_version(both: Resonate) -> None:
    assert both.rpc("latest", "f").result(WAIT_S) == "new"
    for version, expected in ((1, "old"), (2, "new")):
        view = both.options(version=version)
        assert view.rpc(f"rpc-{version}", "f").result(WAIT_S) == expected
        assert view.run(f"run-{version}", "f").result(WAIT_S) == expected
        assert view.rpc(f"new-{version}", new).result(WAIT_S) == expected
        assert view.run(f"old-{version}", old).result(WAIT_S) == expected


def test_a_function_object_stands_for_its_own_version(both: Resonate) -> None:
    assert both.rpc("old", old).result(WAIT_S) == "old"
    assert both.rpc("new", new).result(WAIT_S) == "new"


@pytest.mark.parametrize("how", ["rfc", "lfc"])
def test_a_workflow_chooses_a_version(both: Resonate, how: str) -> None:
    @both.register
    def flow(ctx: Context) -> Body:
        call = getattr(ctx, how)
        found = []
        for func in ("f", old, new):
            for version in (None, 1, 2):
                found.append((yield call(func).options(version=version)))
        return found

    expected = ["new", "old", "new", "old", "old", "new", "new", "old", "new"]
    assert both.rpc("flow", flow).result(WAIT_S) == expected


def test_a_version_nobody_here_has_is_named(both: Resonate) -> None:
    with pytest.raises(UnknownFunction, match="'f' is not registered here at version 3"):
        both.options(version=3).run("id", "f")

    @both.register
    def flow(ctx: Context) -> Body:
        try:
            yield ctx.lfc("f").options(version=3)
        except UnknownFunction as error:
            return str(error)

    assert "not registered in this process at version 3" in both.rpc("flow", flow).result(WAIT_S)


def test_a_call_by_name_to_another_group_asks_for_version_1_unless_told(
    resonate: Resonate,
) -> None:
    away = resonate.options(target="away")
    away.rpc("plain", "g")
    away.options(version=4).rpc("fourth", "g")
    assert version_of(resonate, "plain") == 1
    assert version_of(resonate, "fourth") == 4


def test_a_worker_without_the_version_leaves_the_call_to_one_that_has_it() -> None:
    with Embedded() as system, member(system) as older:
        older.register(old, name="f", version=1)
        handle = older.options(version=2).rpc("id", "f")
        with pytest.raises(TimeoutError):
            handle.result(0.3)
        newer = member(system)
        newer.register(new, name="f", version=2)
        with newer:
            assert handle.result(WAIT_S) == "new"


def test_a_running_promise_keeps_the_version_it_was_recorded_with() -> None:
    """Its local workflow too, although the caller's replay asks for the latest."""
    asked: list[str] = []
    reached = threading.Event()

    def outer(ctx: Context) -> Body:
        return (yield ctx.lfc("inner"))

    def waits(ctx: Context) -> Body:
        promise = yield ctx.promise()
        yield ctx.lfc(tell, promise.id)
        return ["old", (yield promise)]

    def tell(_ctx: Context, promise_id: str) -> None:
        asked.append(promise_id)
        reached.set()

    def changed(ctx: Context) -> Body:
        yield ctx.sleep(0)
        return "new"

    with Embedded() as system:
        first = member(system)
        first.register(outer)
        first.register(waits, name="inner", version=1)
        with first:
            first.rpc("id", "outer")
            assert reached.wait(WAIT_S)
        second = member(system)
        second.register(lambda _ctx: "another", name="outer", version=2)
        second.register(changed, name="inner", version=2)
        second.register(outer)
        second.register(waits, name="inner", version=1)
        with second:
            second.promises.resolve(asked[0], 7)
            assert second.get("id").result(WAIT_S) == ["old", 7]
            assert second.rpc("again", "outer").result(WAIT_S) == "another"
