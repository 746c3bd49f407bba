"""Keyword arguments belong to the user: none of ours takes a name away from a function's own."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

import resonate_amqp
from resonate_amqp import Context, Resonate
from resonate_amqp.ledgers.calls import Recorded, calls_table
from resonate_amqp.testing import System
from resonate_amqp.wire.codec import decode_call

PACKAGE = Path(resonate_amqp.__file__).parent
TAKEN: dict[str, Any] = dict.fromkeys(
    [
        *("self", "cls", "func", "promise_id", "id", "target", "args", "kwargs", "name", "mode"),
        *("schedule_id", "cron", "session", "timeout", "tags", "version", "command", "message"),
        *("retry_policy", "delay", "returns", "options", "node", "now", "mcs", "task", "request"),
    ],
    1,
)
"""Names that parameters of ours bear, or may bear one day, as a user's keyword arguments."""
OTHERS = {
    ("brokers/rabbitmq/corked.py", "__init__"): "pika's arguments",
    ("brokers/rabbitmq/link.py", "create_streaming_connection"): "pika's arguments",
    ("ledgers/postgres.py", "wait"): "psycopg's arguments",
    ("cli/options.py", "checked"): "options of a command of ours",
    ("cli/options.py", "logging"): "options of a command of ours",
    ("cli/options.py", "armed"): "options of a command of ours",
    ("cli/records.py", "reading"): "options of a command of ours",
}
"""Functions that hand on arguments that are not those of a user's function."""

Flow = Generator[Any, Any, Any]


def echo(ctx: Context, /, **given: Any) -> dict[str, Any]:
    return given


def _callables() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every function of the package and every method of its classes, by module and name."""
    for info in pkgutil.walk_packages([str(PACKAGE)], "resonate_amqp."):
        if ".migrations." in info.name or info.name.endswith("__main__"):
            continue
        for thing in list(vars(importlib.import_module(info.name)).values()):
            if getattr(thing, "__module__", "") != info.name:
                continue
            for one in vars(thing).values() if inspect.isclass(thing) else [thing]:
                if inspect.isfunction(one) and one.__module__ == info.name:
                    file = info.name.removeprefix("resonate_amqp.").replace(".", "/") + ".py"
                    yield file, one


def test_no_callable_takes_a_name_from_what_it_forwards() -> None:
    forwarding = 0
    for file, func in _callables():
        parameters = inspect.signature(func).parameters.values()
        kinds = {one.kind for one in parameters}
        if not kinds >= {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
            continue
        if (file, func.__name__) in OTHERS:
            continue
        forwarding += 1
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        taken = [one.name for one in parameters if one.kind in named]
        assert not taken, f"{file}: {func.__qualname__} takes {taken} from what it forwards to"
    assert forwarding >= 19


def test_no_function_inside_of_another_does_either() -> None:
    """What is defined in a function, as a decorator's wrapper is, cannot be found by import."""
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            given = node.args
            if given.vararg is None or given.kwarg is None or not (given.args + given.kwonlyargs):
                continue
            place = (path.relative_to(PACKAGE).as_posix(), node.name)
            if place not in OTHERS:
                wrong.append(place)
    assert wrong == []


@pytest.fixture
def system() -> Iterator[System]:
    with System(start=datetime(2026, 1, 31, 12, tzinfo=UTC)) as made:
        yield made


@pytest.fixture
def resonate(system: System) -> Resonate:
    made = system.resonate("own")
    made.register(echo)
    return made


def test_every_name_can_be_passed_to_a_call_from_outside(resonate: Resonate) -> None:
    durable: Any = resonate.register(echo, name="again")
    calls = [resonate.rpc, resonate.run, resonate.begin_rpc, resonate.begin_run]
    calls += [resonate.options(timeout=60).rpc]
    for number, call in enumerate(calls):
        assert call(f"outside-{number}", "echo", **TAKEN).result() == TAKEN
    for number, own in enumerate([durable.rpc, durable.run, durable.begin_rpc, durable.begin_run]):
        assert own(f"own-{number}", **TAKEN).result() == TAKEN
    assert durable(None, **TAKEN) == TAKEN


def test_every_name_can_be_passed_to_a_call_that_is_awaited(resonate: Resonate) -> None:
    durable = resonate.register(echo, name="again")

    async def called() -> list[Any]:
        handles = [
            await resonate.arpc("a", "echo", **TAKEN),
            await resonate.arun("b", "echo", **TAKEN),
            await durable.arpc("c", **TAKEN),
            await durable.arun("d", **TAKEN),
        ]
        return [await handle for handle in handles]

    assert asyncio.run(called()) == [TAKEN] * 4


def test_every_name_can_be_passed_to_a_step(resonate: Resonate) -> None:
    def flow(ctx: Context) -> Flow:
        values = []
        for call in (ctx.rfc, ctx.lfc, ctx.rpc, ctx.run):
            values.append((yield call(echo, **TAKEN)))
        for start in (ctx.rfi, ctx.lfi, ctx.begin_rpc, ctx.begin_run, ctx.detached):
            values.append((yield (yield start("echo", **TAKEN))))
        return values

    def undone(ctx: Context) -> Flow:
        yield ctx.compensate(kept, **TAKEN)
        raise ValueError("undo")

    seen: list[dict[str, Any]] = []

    def kept(ctx: Context, /, **given: Any) -> None:
        seen.append(given)

    resonate.register(flow)
    resonate.register(undone)
    assert resonate.rpc("steps", "flow").result() == [TAKEN] * 9
    with pytest.raises(ValueError, match="undo"):
        resonate.rpc("undone", "undone").result()
    assert seen == [TAKEN]


def test_every_name_can_be_passed_to_a_call_of_a_schedule(
    system: System, resonate: Resonate
) -> None:
    resonate.schedule("hourly", "0 * * * *", "echo", **TAKEN)
    system.advance(3600)
    assert resonate.get("hourly.20260131T130000Z").result() == TAKEN


def test_every_name_can_be_passed_to_a_call_in_a_transaction(resonate: Resonate) -> None:
    engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.StaticPool)
    resonate.create_calls_table(engine)
    with engine.connect() as connection:
        resonate.create_in(connection, "later", "echo", **TAKEN)
        row = connection.execute(calls_table(sqlalchemy.MetaData()).select()).one()
    engine.dispose()
    create = Recorded(row.serial, row.id, row.request).read()
    assert decode_call(create.param).kwargs == TAKEN
