"""Shapes: what a task's function takes, and what its callers see of that.

A durable function may have a parameter more than its callers know: the context, first, or second
after the task itself when the task is bound.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celery import Task
from celery.local import Proxy

from resonate_amqp.errors import UsageError
from resonate_amqp.runtime.context import Context


@dataclass(frozen=True, slots=True)
class Shape:
    """A task's function; `context` is where its context stands, if it takes one."""

    func: Callable[..., Any]
    context: int | None
    generator: bool

    @classmethod
    def of(cls, func: Callable[..., Any]) -> Shape:
        """What a function is like; raises UsageError for what cannot be a durable task."""
        if isinstance(func, Task | Proxy):
            raise UsageError(
                f"{func!r} is a task already; write @app.task above @durable(…), not below it"
            )
        if inspect.iscoroutinefunction(func) or inspect.isasyncgenfunction(func):
            raise UsageError(
                f"task {func.__qualname__!r} is an async function, which Celery does not run; "
                "write a plain function, or a generator that yields ctx.rfc(…)"
            )
        if not inspect.isroutine(func):
            raise UsageError(f"{func!r} is no function; make a function durable")
        names = list(inspect.signature(func).parameters)
        generator = inspect.isgeneratorfunction(func)
        at = next((at for at, name in enumerate(names[:2]) if _is_context(func, name)), None)
        if at == 1 and names[0] not in ("self", "task"):
            at = None
        if generator and at is None:
            at = int(names[:1] in (["self"], ["task"]))
            if at >= len(names):
                raise UsageError(
                    f"task {func.__qualname__!r} is a generator without a context; write it as "
                    f"def {func.__name__}({', '.join([*names, 'ctx'])})"
                )
        return cls(func, at, generator)

    def public(self, wrapper: Callable[..., Any]) -> Callable[..., Any]:
        """The wrapper, looking as the function does to its callers: without the context."""
        functools.update_wrapper(wrapper, self.func)
        signature = inspect.signature(self.func)
        parameters = list(signature.parameters.values())
        if self.context is not None:
            del parameters[self.context]
        # Celery checks the arguments of a call by this.
        vars(wrapper)["__signature__"] = signature.replace(parameters=parameters)
        return wrapper

    def call(self, task: Task | None, ctx: Context, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call the function: what it returns, or the generator it makes; `task` if it is bound."""
        given = [] if task is None else [task]
        if self.context is not None:
            given.append(ctx)
        return self.func(*given, *args, **kwargs)


def _is_context(func: Callable[..., Any], name: str) -> bool:
    if name == "ctx":
        return True
    annotation = inspect.signature(func).parameters[name].annotation
    if isinstance(annotation, str):
        return annotation.rpartition(".")[2] == Context.__name__
    return annotation is Context
