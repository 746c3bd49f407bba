"""`@durable`: a Celery task's function, run once per promise and resumed where it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Task
from celery._state import get_current_task
from celery.app.task import Context as Request

from resonate_amqp.errors import UsageError
from resonate_amqp.ext.celery import eager, messages
from resonate_amqp.ext.celery.configuring import of_app
from resonate_amqp.ext.celery.execution import Call, execute
from resonate_amqp.ext.celery.made import MARK, Made, Named, Source
from resonate_amqp.ext.celery.shapes import Shape
from resonate_amqp.ext.celery.workers import connect
from resonate_amqp.resonate import Resonate
from resonate_amqp.runtime.context import Context


def durable(
    resonate: Resonate | None = None,
    *,
    id: Named | None = None,  # noqa: A002
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a task durable; write it below `@app.task`.

    A generator, or a function whose first parameter (after the task itself, if it is bound) is
    named `ctx` or annotated `Context`, is given the context and may `yield ctx.rfc(…)`; callers
    know nothing of that parameter. Any other function runs once per promise, and its recorded
    outcome is what every other message of that promise comes to. The promise's id is the task's,
    unless `id` makes one of the arguments. Without a `resonate`, one is made of the configuration
    of the task's app.
    """
    if resonate is not None and not isinstance(resonate, Resonate):
        raise UsageError("write @durable(resonate), or @durable() for the Resonate of its app")
    return lambda func: made_durable(func, lambda task: resonate or of_app(task.app), id)


def made_durable(
    func: Callable[..., Any], source: Source, named: Named | None
) -> Callable[..., Any]:
    """The function that Celery is to run instead of a task's own."""
    made = Made(Shape.of(func), source, named)
    connect()

    def run(*args: Any, **kwargs: Any) -> Any:
        bound = bool(args) and isinstance(args[0], Task)
        task = args[0] if bound else get_current_task()
        request = None if task is None else _request_of(task)
        if request is None:
            return _plainly(made.shape, task, args, kwargs)
        given = args[1:] if bound else args
        promise_id = made.promise_id(request, given, kwargs)
        resonate = source(task)
        return perform(Call(resonate, task, request, made.shape, promise_id, bound, given, kwargs))

    setattr(run, MARK, made)
    return made.shape.public(run)


def perform(call: Call) -> Any:
    """Run a durable task in a worker, or eagerly; the answer is for Celery to go on with."""
    request = call.request
    request.update(resonate_claims=True)
    if request.is_eager:
        return eager.perform(call)
    return execute(
        call,
        target=messages.target_of(call.task.app, request),
        message=messages.template_of(call.task.name, request),
        patient=False,
        prepare=_as_it_is,
    )


def _request_of(task: Task) -> Request | None:
    """The request that runs a task; None when it is called as a function.

    So is what a durable task calls by itself. A `__call__` of the task's own base class may have
    pushed a request of its own over the one that runs it.
    """
    stack = list(task.request_stack.stack or ())
    if len(stack) > 1 and stack[-1].called_directly and stack[-1].args == tuple(stack[-2].args):
        stack.pop()
    request = stack[-1] if stack else None
    if request is None or request.called_directly or request.get("resonate_claims"):
        return None
    return request


def _plainly(shape: Shape, task: Task | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if shape.context is None:
        return shape.func(*args, **kwargs)
    name = task.name if task is not None else shape.func.__qualname__
    raise UsageError(
        f"task {name!r} is durable and was called as a function, where nothing is recorded; "
        "call it by .delay(…), or by .apply(…) to run it in this process"
    )


def _as_it_is(_ctx: Context) -> None: ...
