"""Forms: how a callback is written, which decides where and with what it is run."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from resonate_amqp.errors import UsageError

_GIVEN = ("ctx", "body", "message")


class Kind(Enum):
    """PLAIN runs in the consumer's own thread, everything else in the worker."""

    PLAIN = "plain"
    LEAF = "leaf"
    GENERATOR = "generator"
    COROUTINE = "coroutine"


@dataclass(frozen=True, slots=True)
class Form:
    """What a callback takes, in this order: the mixin instance, the context, body and message.

    One that takes no body is what Kombu calls `on_message`.
    """

    kind: Kind
    method: bool
    ctx: bool
    body: bool

    def arguments(self, instance: Any, ctx: Any, body: Any, message: Any) -> list[Any]:
        """What the callback is called with."""
        wanted = (self.method, self.ctx, self.body, True)
        given = (instance, ctx, body, message)
        return [value for value, takes in zip(given, wanted, strict=True) if takes]


def form_of(func: Callable[..., Any], context: bool | None = None) -> Form:
    """How a callback is written; raises UsageError for what Kombu could not call.

    A parameter that is named `ctx`, or annotated `Context`, takes the context; one that is named
    `ctx` and annotated otherwise does not. `context` False says that none does.
    """
    names, context_at = _parameters(func, context)
    method = bool(names) and (
        names[0] == "self" or (_in_class(func) and names[0] not in _GIVEN and context_at != 0)
    )
    ctx = context_at == method
    rest = len(names) - method - ctx
    if rest not in (1, 2):
        raise UsageError(
            f"callback {name_of(func)!r} takes {', '.join(names) or 'nothing'}; a durable one "
            "takes (body, message) or (message), with ctx before them if it makes durable calls, "
            "and self before that in a class; where ctx is the body, write "
            "durable(resonate, context=False)"
        )
    return Form(_kind(func, ctx), method, ctx, rest == 2)


def name_of(func: Callable[..., Any]) -> str:
    """The name under which a callback is registered if none is given; empty if it has none."""
    qualified = str(getattr(func, "__qualname__", ""))
    if "<lambda>" in qualified:
        return ""
    return ".".join(part for part in qualified.split(".") if part != "<locals>")


def check_answer(value: Any, name: str) -> None:
    """Raise UsageError for a generator or coroutine of a callback that seemed to be plain."""
    if inspect.isgenerator(value) or inspect.iscoroutine(value):
        value.close()
        raise UsageError(
            f"callback {name!r} answered a {type(value).__name__}, which nobody runs: a decorator "
            "below @durable hides what it wraps; write it with functools.wraps"
        )


def _kind(func: Callable[..., Any], ctx: bool) -> Kind:
    written = inspect.unwrap(func)
    if not (inspect.isroutine(written) or isinstance(written, functools.partial)):
        written = type(written).__call__
    if inspect.isgeneratorfunction(written):
        return Kind.GENERATOR
    if inspect.iscoroutinefunction(written):
        return Kind.COROUTINE
    return Kind.LEAF if ctx else Kind.PLAIN


def _parameters(func: Callable[..., Any], context: bool | None) -> tuple[list[str], int]:
    """The parameters that a call has to fill, and which of them is the context, or -1."""
    names: list[str] = []
    context_at = -1
    for parameter in inspect.signature(func).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            names.extend(["body", "message"][max(0, len(names) - 1) :])
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            if parameter.default is not parameter.empty:
                continue
            may = context is not False and len(names) < 2 and context_at < 0
            if may and _is_context(parameter):
                context_at = len(names)
            names.append(parameter.name)
    return names, context_at


def _is_context(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    told = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    anything = annotation is parameter.empty or told.rpartition(".")[2] == "Any"
    return "Context" in re.findall(r"\w+", told) or (anything and parameter.name == "ctx")


def _in_class(func: Callable[..., Any]) -> bool:
    owner = str(getattr(func, "__qualname__", "")).rpartition(".")[0]
    return bool(owner) and not owner.endswith("<locals>")
