"""Which functions can be durable tasks, and what their callers see of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery

from resonate_amqp import Context, Resonate, UsageError
from resonate_amqp.ext.celery import durable
from resonate_amqp.ext.celery.shapes import Shape


def first(ctx: Any, one: int) -> None: ...


def annotated(context: Context, one: int) -> None: ...


def second(self: Any, ctx: Context, one: int) -> None: ...


def generator(handle: Any, one: int) -> Any:
    yield handle


def bound_generator(self: Any, handle: Any, one: int) -> Any:
    yield handle


def plain(one: int, ctx: int) -> None: ...


def bound_plain(self: Any, one: int) -> None: ...


@pytest.mark.parametrize(
    ("func", "context", "public"),
    [
        (first, 0, ["one"]),
        (annotated, 0, ["one"]),
        (second, 1, ["self", "one"]),
        (generator, 0, ["one"]),
        (bound_generator, 1, ["self", "one"]),
        (plain, None, ["one", "ctx"]),
        (bound_plain, None, ["self", "one"]),
    ],
)
def test_the_context_is_found_and_hidden_from_callers(
    func: Callable[..., Any], context: int | None, public: list[str]
) -> None:
    shape = Shape.of(func)
    assert shape.context == context
    wrapper = shape.public(lambda *args: args)
    assert list(inspect.signature(wrapper).parameters) == public
    assert wrapper.__name__ == func.__name__


async def asynchronous(ctx: Context) -> None: ...


def without_context() -> Any:
    yield


@pytest.mark.parametrize("func", [asynchronous, without_context, 5])
def test_what_cannot_be_a_durable_task_is_refused(func: Any) -> None:
    with pytest.raises(UsageError):
        Shape.of(func)


def test_the_wrong_order_of_decorators_is_named() -> None:
    misplaced: Any = plain
    app, resonate = Celery("shapes", set_as_current=False), Resonate(group="shapes")
    with pytest.raises(UsageError, match=r"write @app\.task above @durable"):
        durable(resonate)(app.task(plain))
    with pytest.raises(UsageError, match=r"write @durable\(resonate\)"):
        durable(misplaced)
