"""Shapes: what a task's function takes, and what its callers see of that.

A durable function may have a parameter more than its callers know: the context, first, or second
after the task itself when the task is bound.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from celery import Task
from celery.local import Proxy

from resonate_amqp.errors import Encoding, UsageError
from resonate_amqp.ext.celery.reach import reachable
from resonate_amqp.runtime.annotations import resolved
from resonate_amqp.runtime.context import Context
from resonate_amqp.wire.typed import Shape as Returned
from resonate_amqp.wire.typed import shape_of

CONTEXT = "ctx"
OF_THE_TASK = ("self", "task")
ANYTHING = (inspect.Parameter.empty, Any, object)
WRAPPED = "__wrapped__"
SIGNATURE = "__signature__"

LAMBDA = "<lambda>"


@dataclass(frozen=True, slots=True)
class Shape:
    """A task's function; `context` is where its context stands, if it takes one.

    `written` is the function whose signature callers see, where `func` hides it; `guessed` tells
    that only the name of a parameter makes it the context; `returns` is the model of pydantic that
    results are annotated as.
    """

    func: Callable[..., Any]
    context: int | None
    generator: bool
    written: Callable[..., Any] | None = None
    guessed: bool = False
    returns: Returned | None = None

    @classmethod
    def of(cls, func: Callable[..., Any], *, context: bool = True) -> Shape:
        """What a function is like; raises UsageError for what cannot be a durable task.

        Without `context` it is given none, whatever its parameters are called.
        """
        func = func.__func__ if isinstance(func, staticmethod) else func
        _check(func)
        written = _written(func)
        parameters = list(inspect.signature(written).parameters.values())
        generator = inspect.isgeneratorfunction(_called(func))
        at = _context_at(written, parameters) if context else None
        if generator and context and at is None:
            at = int(bool(parameters) and parameters[0].name in OF_THE_TASK)
            if at >= len(parameters) or not _says_nothing(written, parameters[at]):
                names = [one.name for one in parameters]
                raise UsageError(
                    f"task {name_of(func)!r} is a generator without a context; write it as "
                    f"def {name_of(func)}({', '.join([*names[:at], CONTEXT, *names[at:]])})"
                )
        guessed = at is not None and _says_nothing(written, parameters[at])
        return cls(func, at, generator, written, guessed, _model(written))

    def public(self, wrapper: Callable[..., Any]) -> Callable[..., Any]:
        """The wrapper, looking as the function does to its callers: without the context."""
        written = self.written or self.func
        functools.update_wrapper(wrapper, _whole(written), updated=())
        if inspect.isroutine(self.func):
            vars(wrapper).update(getattr(self.func, "__dict__", {}))
        wrapper.__name__ = name_of(written)
        if not inspect.isroutine(written):
            wrapper.__qualname__ = wrapper.__name__
        vars(wrapper)[WRAPPED] = self.func
        signature = inspect.signature(written)
        parameters = list(signature.parameters.values())
        if self.context is not None:
            del parameters[self.context]
        # Celery checks the arguments of a call by this.
        vars(wrapper)[SIGNATURE] = signature.replace(parameters=parameters)
        wrapper.__dict__ = _Attributes(wrapper.__dict__)
        return wrapper

    def call(
        self, task: Task | None, ctx: Context, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call the function: what it returns, or the generator it makes; `task` if it is bound."""
        given: list[Any] = [] if task is None else [task]
        if self.context is not None:
            given.append(ctx)
        given += args
        try:
            return self.func(*given, **kwargs)
        except TypeError as error:
            if not self.guessed or self._binds(given, kwargs):
                raise
            raise TypeError(
                f"{error}; its parameter {CONTEXT!r} was taken for the durable context. If callers "
                "give it, annotate it with its own type, or write @durable(…, context=False)"
            ) from error

    def modelled(self, value: Any) -> Any:
        """A recorded result as the model that the function is annotated to return, if it is one."""
        if self.returns is None or self.generator or not isinstance(value, dict):
            return value
        try:
            return self.returns.rebuild(value, "result")
        except Encoding:
            return value

    def continues(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether a call is given a context: by a durable function that calls this one."""
        return any(isinstance(one, Context) for one in (*args[:2], *kwargs.values()))

    def _binds(self, args: list[Any], kwargs: dict[str, Any]) -> bool:
        try:
            inspect.signature(self.written or self.func).bind(*args, **kwargs)
        except TypeError:
            return False
        return True


class _Attributes(dict[str, Any]):
    """A durable function's attributes: `functools.wraps` copies all of them but its signature.

    A decorator may take other arguments than what it decorates, and Celery checks its own.
    """

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> Any:
        return [name for name in dict.keys(self) if name != SIGNATURE]


def name_of(func: Callable[..., Any]) -> str:
    """What a function is called; an object that can be called has its class's name."""
    if isinstance(func, functools.partial):
        return name_of(func.func)
    return str(getattr(func, "__name__", type(func).__name__))


def _check(func: Any) -> None:
    if isinstance(func, Task | Proxy):
        raise UsageError(
            f"{func!r} is a task already; write @app.task above @durable(…), not below it"
        )
    if inspect.isclass(func):
        raise UsageError(
            f"{func!r} is a class; write @durable(…) on its method run, or let it inherit from "
            "DurableTask"
        )
    if not callable(func) or isinstance(func, classmethod):
        raise UsageError(f"{func!r} is no function; make a function durable")
    inner = _called(func)
    if inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner):
        raise UsageError(
            f"task {name_of(func)!r} is an async function, which Celery does not run; "
            "write a plain function, or a generator that yields ctx.rfc(…)"
        )
    if name_of(func) == LAMBDA:
        raise UsageError("a lambda has no name that Celery takes; write a def and make it durable")


def _whole(func: Callable[..., Any]) -> Callable[..., Any]:
    """The function that a `functools.partial` calls in the end; any other is itself."""
    while isinstance(func, functools.partial):
        func = func.func
    return func


def _called(func: Callable[..., Any]) -> Callable[..., Any]:
    """The code that a call runs first: of an object that can be called, its `__call__`.

    What decorators make of that code's result is theirs, so they are not looked through.
    """
    func = _whole(func)
    return func if inspect.isroutine(func) else type(func).__call__


def _written(func: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself, or one that takes the context and stands in a wrapper that hides it."""
    own = inspect.signature(func).parameters.values()
    takes = [one.name for one in own if one.kind is not inspect.Parameter.VAR_KEYWORD]
    hides = [one.name for one in own if one.kind is inspect.Parameter.VAR_POSITIONAL]
    if not hides or takes.index(hides[0]) > 1:
        return func
    if takes.index(hides[0]) == 1 and takes[0] not in OF_THE_TASK:
        return func
    for inner in reachable(func):
        if inner is func or not inspect.isroutine(inner):
            continue
        parameters = list(inspect.signature(inner).parameters.values())
        if _context_at(inner, parameters) is not None:
            return inner
    return func


def _context_at(func: Callable[..., Any], parameters: list[inspect.Parameter]) -> int | None:
    """Where the parameter stands that is the context, by its annotation or else by its name."""
    for at, one in enumerate(parameters[:2]):
        if at == 1 and parameters[0].name not in OF_THE_TASK:
            return None
        if _is_context(func, one):
            return at
    return None


def _is_context(func: Callable[..., Any], parameter: inspect.Parameter) -> bool:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.KEYWORD_ONLY):
        return False
    annotation = resolved(func, parameter.annotation)
    if isinstance(annotation, str):
        # It names what is imported for type checkers only.
        return annotation.rpartition(".")[2] == Context.__name__
    if annotation in ANYTHING:
        return parameter.name == CONTEXT and parameter.default is parameter.empty
    kinds = get_args(annotation) or (annotation,)
    return any(isinstance(one, type) and issubclass(one, Context) for one in kinds)


def _model(func: Callable[..., Any]) -> Returned | None:
    annotation = resolved(func, inspect.signature(func).return_annotation)
    if get_origin(annotation) is Generator:
        annotation = [*get_args(annotation), Any, Any, Any][2]
    kinds = get_args(annotation) or (annotation,)
    modelled = any(hasattr(one, "__pydantic_validator__") for one in kinds)
    return shape_of(annotation) if modelled else None


def _says_nothing(func: Callable[..., Any], parameter: inspect.Parameter) -> bool:
    annotation = resolved(func, parameter.annotation)
    return not isinstance(annotation, str) and annotation in ANYTHING
