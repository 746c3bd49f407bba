"""Wrong input at the face: an error that names the thing, promptly, and nothing lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from resonate_amqp import Context, Embedded, Resonate
from resonate_amqp.errors import (
    Encoding,
    InvalidId,
    InvalidTarget,
    RemoteError,
    UnknownFunction,
    UsageError,
)

Body = Generator[Any, Any, Any]


@pytest.fixture
def system() -> Iterator[Embedded]:
    with Embedded() as made:
        yield made


@pytest.fixture
def resonate(system: Embedded) -> Iterator[Resonate]:
    made = Resonate(system=system, group="g", request_timeout=5, grace=0.2)
    made.register(double)
    made.start()
    yield made
    made.stop()


def double(_ctx: Context, n: int) -> int:
    return 2 * n


def given(_ctx: Context, what: Any) -> Any:
    return what


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]


def test_a_function_nobody_has_is_named_and_waits_for_a_worker_that_has_it(
    system: Embedded, resonate: Resonate, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        handle = resonate.options(target="g").rpc("call", "triple", 5)
        with pytest.raises(TimeoutError):
            handle.result(1.3)
    told = errors(caplog)
    assert 1 <= len(told) <= 3
    assert "function 'triple' version 1 is not registered in group 'g'" in told[0]
    assert "(registered: double)" in told[0]
    resonate.stop()
    with Resonate(system=system, group="g", grace=0.2) as other:

        @other.register
        def triple(_ctx: Context, n: int) -> int:
            return 3 * n

        assert other.get("call").result(5) == 15


def test_a_version_nobody_has_is_named(
    resonate: Resonate, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        handle = resonate.options(target="g", version=7).rpc("call", "double", 5)
        with pytest.raises(TimeoutError):
            handle.result(0.3)
    assert "function 'double' version 7 is not registered" in errors(caplog)[0]


def test_a_function_without_a_target_must_be_known_here(resonate: Resonate) -> None:
    with pytest.raises(UnknownFunction, match=r"'triple' .*registered: double.*give the call a ta"):
        resonate.rpc("call", "triple", 5)
    with pytest.raises(UnknownFunction, match="'triple'"):
        resonate.run("call", "triple", 5)


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1, 2), {}), ((), {"m": 1})])
def test_wrong_arguments_are_a_type_error_that_names_the_function(
    resonate: Resonate, args: tuple[int, ...], kwargs: dict[str, int]
) -> None:
    began = time.monotonic()
    with pytest.raises(TypeError, match="double"):
        resonate.rpc("call", double, *args, **kwargs).result(5)
    assert time.monotonic() - began < 1


def test_wrong_arguments_of_a_workflow_are_a_type_error_too(resonate: Resonate) -> None:
    @resonate.register
    def flow(ctx: Context, n: int) -> Body:
        return (yield ctx.rfc("double", n))

    with pytest.raises(TypeError, match="flow"):
        resonate.rpc("call", flow).result(5)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({1, 2}, "args[0]"),
        ({"price": float("nan")}, "args[0].price"),
        ([float("-inf")], "args[0][0]"),
        ("a\ud800", "args[0]"),
        ({"raw": b"x"}, "args[0].raw"),
        ({1: 2}, "args[0]"),
        (object(), "args[0]"),
        ("x" * 1_100_000, "arguments"),
    ],
)
def test_an_argument_json_cannot_hold_is_refused_where_it_is_passed(
    resonate: Resonate, value: Any, path: str
) -> None:
    with pytest.raises(Encoding) as refused:
        resonate.rpc("call", double, value)
    assert refused.value.path == path
    with pytest.raises(UsageError, match="does not exist"):
        resonate.promises.get("call")


@pytest.mark.parametrize(
    "value", [{1}, float("nan"), "\ud800", b"x", "x" * 1_100_000], ids=lambda v: str(type(v))
)
@pytest.mark.parametrize("kind", ["leaf", "flow", "step"])
def test_a_result_json_cannot_hold_rejects_its_promise_with_the_reason(
    resonate: Resonate, value: Any, kind: str
) -> None:
    def leaf(_ctx: Context) -> Any:
        return value

    def flow(ctx: Context) -> Body:
        yield ctx.lfc(double, 1)
        return value

    def step(ctx: Context) -> Body:
        return (yield ctx.lfc(leaf))

    chosen: Any = {"leaf": leaf, "flow": flow, "step": step}[kind]
    resonate.register(chosen, name="chosen")
    with pytest.raises(RemoteError, match="result: ") as refused:
        resonate.rpc("call", "chosen").result(5)
    assert refused.value.type_name.endswith("Encoding")
    assert resonate.rpc("after", double, 1).result(5) == 2


@pytest.mark.parametrize(
    "error",
    [ValueError("\ud800"), RemoteError("\ud800", "Odd\ud800"), RemoteError("x" * 2_000_000)],
    ids=["builtin", "remote", "long"],
)
def test_an_error_json_cannot_hold_still_rejects_its_promise(
    resonate: Resonate, error: Exception
) -> None:
    @resonate.register
    def fails(_ctx: Context) -> None:
        raise error

    with pytest.raises(type(error)):
        resonate.rpc("call", fails).result(5)
    assert resonate.rpc("after", double, 1).result(5) == 2


@pytest.mark.parametrize(
    ("promise_id", "problem"),
    [
        ("", "empty"),
        ("order:42", "colon"),
        ("order\n42", "control character"),
        ("order\x00", "control character"),
        ("order\ud800", "lone surrogate"),
        ("x" * 201, "201 bytes long; at most 200"),
    ],
)
def test_an_id_that_may_not_be_is_refused_by_every_way_in(
    resonate: Resonate, promise_id: str, problem: str
) -> None:
    for way in (
        lambda: resonate.rpc(promise_id, double, 1),
        lambda: resonate.run(promise_id, double, 1),
        lambda: resonate.promises.create(promise_id),
    ):
        with pytest.raises(InvalidId, match=problem):
            way()


@pytest.mark.parametrize(
    "target", ["amqp://x", "poll://all@g", "poll://uni@g", "bil ling", "", "x" * 65]
)
def test_a_target_that_is_none_is_refused_and_named(resonate: Resonate, target: str) -> None:
    with pytest.raises(InvalidTarget) as refused:
        resonate.options(target=target).rpc("call", double, 1)
    assert repr(target)[:10] in str(refused.value)

    @resonate.register
    def flow(ctx: Context) -> Body:
        return (yield ctx.rfc("double", 1).options(target=target))

    with pytest.raises(RemoteError, match="target") as raised:
        resonate.rpc("flow", flow).result(5)
    assert raised.value.type_name.endswith("InvalidTarget")


@pytest.mark.parametrize(
    "tags",
    [{"a": "\ud800"}, {"\ud800": "a"}, {"a": "\0"}, {"a": 1}, {"a": "x" * 3000}],
    ids=["surrogate", "name", "nul", "number", "long"],
)
def test_a_tag_that_cannot_be_recorded_is_refused_and_the_process_goes_on(
    resonate: Resonate, tags: dict[str, Any]
) -> None:
    with pytest.raises(Encoding, match="tags"):
        resonate.options(tags=tags).rpc("call", double, 1)
    with pytest.raises(Encoding, match="tags"):
        resonate.promises.create("promise", tags=tags)

    @resonate.register
    def flow(ctx: Context) -> Body:
        return (yield ctx.rfc("double", 1).options(tags=tags))

    with pytest.raises(RemoteError, match="tags"):
        resonate.rpc("flow", flow).result(5)
    assert resonate.rpc("after", double, 1).result(5) == 2


def test_large_but_legal_values_travel_in_as_many_messages_as_they_need(
    resonate: Resonate,
) -> None:
    """Twelve arguments and results of nearly 1 MiB each: far more than one message holds."""
    resonate.register(given)

    @resonate.register
    def flow(ctx: Context) -> Body:
        large = "x" * 1_000_000
        started = []
        for _ in range(12):
            started.append((yield ctx.rfi("given", large)))
        found = []
        for one in started:
            found.append((yield one))
        return [len(text) for text in found]

    assert resonate.rpc("call", flow).result(30) == [1_000_000] * 12
