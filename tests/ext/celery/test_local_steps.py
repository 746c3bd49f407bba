"""Local functions of a task's workflow: where they run, what they see, what they may return."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Generator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import flask
import pytest
from celery import Celery, Task, signals

from resonate_amqp import Constant, Context, RemoteError, Resonate
from resonate_amqp.ext.celery import durable

Body = Generator[Any, Any, Any]

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
app = Celery("local-steps", set_as_current=False)
app.conf.task_always_eager = True
resonate = Resonate("amqp://nobody.invalid", group="local-steps")


def task(func: Callable[..., Any], **options: Any) -> Any:
    """A durable task of this module's app, with a name of its own."""
    name = f"{func.__name__}-{len(app.tasks)}"
    return app.task(shared=False, name=name, **options)(durable(resonate)(func))


def thread(_ctx: Context) -> str:
    return threading.current_thread().name


@pytest.fixture
def prerun() -> Iterator[None]:
    def enter(**_: Any) -> None:
        tenant.set("acme")

    signals.task_prerun.connect(enter)
    yield
    signals.task_prerun.disconnect(enter)


def test_a_connection_of_the_tasks_thread_serves_its_local_functions() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE orders (id TEXT)")

    def insert(_ctx: Context, order: str) -> int:
        # SQLite refuses a connection that another thread opened.
        connection.execute("INSERT INTO orders VALUES (?)", (order,))
        return int(connection.execute("SELECT count(*) FROM orders").fetchone()[0])

    def store(ctx: Context) -> Body:
        one = yield ctx.lfc(insert, "1")
        started = []
        for order in ("2", "3"):
            started.append((yield ctx.lfi(insert, order)))
        both = yield ctx.gather(*started, ctx.lfc(insert, "4"))
        return [one, *both]

    assert task(store).delay().get() == [1, 2, 3, 4]


def test_a_local_workflow_has_its_steps_in_the_tasks_thread() -> None:
    def inner(ctx: Context) -> Body:
        first = yield ctx.lfc(thread)
        return [first, (yield ctx.lfc(thread))]

    async def awaiting(ctx: Context) -> Any:
        return await ctx.lfc(thread)

    def outer(ctx: Context) -> Body:
        found = yield ctx.gather(ctx.lfc(inner), ctx.lfc(awaiting), ctx.lfc(thread))
        return found

    here = threading.current_thread().name
    assert task(outer).delay().get() == [[here, here], here, here]


def test_a_retry_policy_holds_in_the_tasks_thread() -> None:
    ran: list[str] = []

    def flaky(_ctx: Context) -> str:
        ran.append(threading.current_thread().name)
        if len(ran) < 3:
            raise ConnectionError("not yet")
        return "done"

    def patient(ctx: Context) -> Body:
        policy = Constant(delay=0.01, max_retries=5)
        return (yield ctx.lfc(flaky).options(retry_policy=policy))

    assert task(patient).delay().get() == "done"
    assert ran == [threading.current_thread().name] * 3


def test_variables_of_the_task_are_there_and_those_of_a_local_function_are_its_own(
    prerun: None,
) -> None:
    def enter(_ctx: Context, name: str) -> str:
        was = tenant.get()
        tenant.set(name)
        return was

    def scoped(ctx: Context) -> Body:
        seen = [(yield ctx.lfc(enter, "one")), (yield ctx.lfc(enter, "two")), tenant.get()]
        tenant.set("the body's")
        return [*seen, (yield ctx.lfc(enter, "three")), tenant.get()]

    scoped_task = task(scoped)
    for _ in range(2):
        ended = scoped_task.delay().get()
        assert ended == ["acme", "acme", "acme", "the body's", "the body's"]
    assert tenant.get() == "acme"


def test_an_application_context_around_a_task_is_around_its_local_functions() -> None:
    site = flask.Flask("site")

    class InSite(Task):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            with site.app_context():
                flask.g.user = "root"
                return self.run(*args, **kwargs)

    def user(_ctx: Context) -> list[str]:
        return [flask.current_app.name, flask.g.user]

    def asking(ctx: Context) -> Body:
        return (yield ctx.gather(ctx.lfc(user), ctx.lfc(user)))

    assert task(asking, base=InSite).delay().get() == [["site", "root"]] * 2


def test_a_local_function_may_run_another_task_eagerly() -> None:
    def inner(ctx: Context, number: int) -> Body:
        return [number, (yield ctx.lfc(thread))]

    inner_task = task(inner)

    def call(_ctx: Context, number: int) -> Any:
        return inner_task.delay(number).result

    def outer(ctx: Context) -> Body:
        return (yield ctx.gather(ctx.lfc(call, 1), ctx.lfc(call, 2)))

    here = threading.current_thread().name
    assert task(outer).delay().get() == [[1, here], [2, here]]


def test_a_local_function_that_exits_fails_in_its_body() -> None:
    def leave(_ctx: Context) -> None:
        raise SystemExit(3)

    def bold(ctx: Context) -> Body:
        try:
            yield ctx.lfc(leave)
        except RemoteError as error:
            return error.type_name
        return "gone"

    assert task(bold).delay().get() == "SystemExit"


@dataclass
class Parcel:
    weight: Decimal


VALUES = [
    b"\x00\xff",
    Decimal("1.10"),
    UUID(int=7),
    date(2026, 1, 2),
    datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
    {1: "one", "day": [date(2026, 1, 2), {"raw": b"x"}]},
    {"__type__": "decimal", "__value__": "1"},
    float("inf"),
    None,
]


def test_what_a_local_function_returns_comes_back_live_and_on_replay() -> None:
    ran: list[int] = []

    def load(_ctx: Context, number: int) -> Any:
        ran.append(number)
        return VALUES[number]

    def described(_ctx: Context, given: Any) -> dict[str, Any]:
        return {"given": given, "type": type(given).__name__}

    def weigh(_ctx: Context) -> Parcel:
        return Parcel(Decimal(2))

    def pair(_ctx: Context) -> tuple[int, Decimal]:
        return 1, Decimal(2)

    def nested(ctx: Context) -> Body:
        return (yield ctx.lfc(load, 0))

    def replaying(self: Task, ctx: Context) -> Body:
        loaded = []
        for number in range(len(VALUES)):
            loaded.append((yield ctx.lfc(load, number)))
        assert loaded == VALUES
        assert (yield ctx.lfc(described, VALUES[5])) == {"given": VALUES[5], "type": "dict"}
        assert (yield ctx.lfc(weigh)) == Parcel(Decimal(2))
        assert (yield ctx.lfc(pair)) == (1, Decimal(2))
        assert (yield ctx.lfc(nested)) == VALUES[0]
        if self.request.retries == 0:
            raise self.retry(countdown=0)
        return loaded

    assert task(replaying, bind=True).delay().get() == VALUES
    assert ran == [*range(len(VALUES)), 0]


class Unknown:
    """Nothing knows how to record it."""


@pytest.mark.parametrize(
    ("value", "where", "remedy"),
    [
        ({"tags": {1}}, r"result\.tags: set", r"register_type\(set, 'set', sorted, set\)"),
        ([timedelta(1)], r"result\[0\]: timedelta", "hand over plain values"),
        (Unknown(), "result: Unknown", r"register_type\(Unknown, 'Unknown', to_plain, from_plain"),
    ],
)
def test_what_cannot_be_recorded_is_named_with_a_remedy(
    value: Any, where: str, remedy: str
) -> None:
    def load(_ctx: Context) -> Any:
        return value

    def keep(ctx: Context) -> Body:
        return (yield ctx.lfc(load))

    def give() -> Any:
        return value

    for made in (task(keep), task(give)):
        with pytest.raises(Exception, match=f"{where}.*{remedy}"):
            made.delay().get()
