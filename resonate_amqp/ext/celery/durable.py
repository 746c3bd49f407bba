"""`@durable`: a Celery task's function, run once per promise and resumed where it was."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any

from celery import Task
from celery._state import get_current_task
from celery.app import base
from celery.app.task import Context as Request

from resonate_amqp.core.model import SERVICE
from resonate_amqp.errors import UsageError
from resonate_amqp.ext.celery import eager, messages
from resonate_amqp.ext.celery.claims import Call
from resonate_amqp.ext.celery.configuring import of_app
from resonate_amqp.ext.celery.execution import execute, refusing
from resonate_amqp.ext.celery.made import MARK, Made, Named, Source
from resonate_amqp.ext.celery.outcomes import WITHOUT_OUTCOME, Leaving, Refused
from resonate_amqp.ext.celery.reach import reachable
from resonate_amqp.ext.celery.shapes import Shape
from resonate_amqp.ext.celery.tracing import begins, is_enclosed
from resonate_amqp.ext.celery.workers import connect
from resonate_amqp.ext.plain import flatten
from resonate_amqp.resonate import Resonate
from resonate_amqp.runtime.context import Context


def durable(
    resonate: Resonate | None = None,
    *,
    id: Named | None = None,  # noqa: A002
    context: bool = True,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a task durable; write it below `@app.task`.

    A generator, or a function whose first parameter (after the task itself, if it is bound) is
    annotated `Context`, or named `ctx` and not annotated as anything else, is given the context and
    may `yield ctx.rfc(…)`; callers know nothing of that parameter. Without `context` there is none,
    whatever the parameters are called. Any other function runs once per promise, and its recorded
    outcome is what every other message of that promise comes to. The promise's id is the task's,
    unless `id` makes one of the message's arguments. Without a `resonate`, one is made of the
    configuration of the task's app.
    """
    if resonate is not None and not isinstance(resonate, Resonate):
        raise UsageError("write @durable(resonate), or @durable() for the Resonate of its app")

    def source(task: Task) -> Resonate:
        return resonate or of_app(task.app)

    return lambda func: made_durable(func, source, id, context=context)


def made_durable(
    func: Callable[..., Any], source: Source, named: Named | None, *, context: bool = True
) -> Callable[..., Any]:
    """The function that Celery is to run instead of a task's own."""
    made = Made(Shape.of(func, context=context), source, named)
    connect()

    def run(*args: Any, **kwargs: Any) -> Any:
        bound = bool(args) and isinstance(args[0], Task)
        task = args[0] if bound else get_current_task()
        request = None if task is None else _request_of(task)
        if request is None:
            return _plainly(made.shape, task, args, kwargs)
        given = args[1:] if bound else args
        value = perform(
            partial(call_of, made, task, request, given, kwargs, bound=bound), task, request
        )
        return made.shape.modelled(value) if _dumps_models(task) else value

    setattr(run, MARK, made)
    return made.shape.public(run)


def call_of(
    made: Made,
    task: Task,
    request: Request,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    bound: bool = False,
) -> Call:
    """The call that a task's message stands for; `args` are what its function is given.

    Raises Encoding, naming the place, for an argument that cannot be recorded, and UsageError in a
    worker that does not know that the task is durable.
    """
    if not (request.is_eager or is_enclosed(task)):
        raise UsageError(
            f"task {task.name!r} is durable, and its worker did not see that when it started: a "
            "decorator above @durable hides it, or the task was registered later. Write "
            "@functools.wraps(func) in that decorator, or @durable above it"
        )
    asked = tuple(request.args or ()), dict(request.kwargs or {})
    named_already = messages.names_promise(request)
    promise_id = made.promise_id(request, *asked)
    if made.named is not None and not named_already:
        # A retry is of this promise, whatever its arguments are.
        request.headers = {**(request.headers or {}), messages.ID_HEADER: promise_id}
    source = made.source(task)
    return Call(
        source,
        task,
        request,
        made.shape,
        promise_id,
        bound,
        args,
        kwargs,
        (flatten(list(asked[0]), "args"), flatten(asked[1], "kwargs")),
        partial(begins, task, request),
        {} if made.named is not None or named_already else {SERVICE: source.settings.group},
        str((request.headers or {}).get(messages.RETRY_HEADER) or "") if named_already else "",
    )


def perform(called: Callable[[], Call], task: Task, request: Request) -> Any:
    """Run a durable task in a worker, or eagerly; the answer is for Celery to go on with.

    `called` makes the call of the request. Raises Leaving in a worker when the task has no outcome,
    and Refused when its message cannot be executed.
    """
    request.update(resonate_claims=True, resonate_left=None)
    try:
        with refusing():
            call = called()
            message = None if request.is_eager else messages.template_of(call.task.name, request)
        if request.is_eager:
            return eager.perform(call)
        return execute(
            call,
            target=messages.target_of(call.task.app, request),
            message=message,
            patient=False,
            prepare=_as_it_is,
        )
    except WITHOUT_OUTCOME as told:
        if request.is_eager:
            raise
        request.update(resonate_left=told)
        raise Leaving(told) from told
    except Refused as refused:
        if request.is_eager or not is_enclosed(task):
            raise refused.error from None
        request.update(resonate_left=refused.error)
        raise
    finally:
        # A decorator that calls the function again gets its recorded outcome.
        request.update(resonate_claims=False)


def _request_of(task: Task) -> Request | None:
    """The request that runs a task; None when it is called as a function.

    So is what a durable task calls by itself. A `__call__` of the task's own base class may have
    pushed a request of its own over the one that runs it.
    """
    stack = list(task.request_stack.stack or ())
    if len(stack) > 1 and stack[-1].called_directly:
        given = stack[-2].get("resonate_given") or stack[-2].args
        if stack[-1].args == tuple(given):
            stack.pop()
    request = stack[-1] if stack else None
    if request is None or request.called_directly or request.get("resonate_claims"):
        return None
    return request


def _plainly(shape: Shape, task: Task | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if shape.context is None or shape.continues(args, kwargs):
        return shape.func(*args, **kwargs)
    name = task.name if task is not None else shape.func.__qualname__
    if _is_errback(args):
        raise UsageError(
            f"task {name!r} is durable and takes (request, exc, traceback): Celery calls such an "
            "errback as a function, in the worker of the task that failed, where nothing is "
            "recorded. Let it take the context and the id of that task, (ctx, task_id): then it "
            "is sent as a message"
        )
    raise UsageError(
        f"task {name!r} is durable and was called as a function, where nothing is recorded; "
        "call it by .delay(…), or by .apply(…) to run it in this process"
    )


def _is_errback(args: tuple[Any, ...]) -> bool:
    """Whether these are what Celery calls an errback with: request, exception and traceback."""
    *_, request, error, _trace = (None, None, None, *args)
    return isinstance(request, Request) and isinstance(error, BaseException)


def _dumps_models(task: Task) -> bool:
    """Whether Celery makes JSON of the models that a task returns (`pydantic=True`)."""
    func = getattr(task, "_orig_run", None) or task.run
    return any(
        isinstance(one, FunctionType)
        and one.__globals__ is vars(base)
        and one.__code__.co_name == "wrapper"
        for one in reachable(func)
    )


def _as_it_is(_ctx: Context) -> None: ...
