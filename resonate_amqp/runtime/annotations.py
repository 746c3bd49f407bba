"""Annotations: what a function's signature says of its arguments and its result.

An annotation that cannot be resolved, such as one that names what is only imported for type
checkers, rebuilds nothing, and is told of when it is needed; the others of the same function still
count.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, get_args, get_origin, get_type_hints

from resonate_amqp.wire.typed import UNTYPED, Shape, Types, shape_of

Parameter = inspect.Parameter
_Names = tuple[dict[str, Any], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Unresolved:
    """An annotation that means no type where the function stands."""

    text: str
    error: Exception


def types_of(func: Callable[..., Any], signature: inspect.Signature | None) -> Types:
    """The types of a function whose first parameter is the context."""
    if signature is None:
        return UNTYPED
    parameters: list[tuple[str, Shape | None]] = []
    keywords: dict[str, Shape | None] = {}
    rest = others = None
    names = _names(func)
    given = list(signature.parameters.values())
    for parameter in given if _variable(given) else given[1:]:
        shape = _shape(_of(parameter, names))
        match parameter.kind:
            case Parameter.VAR_POSITIONAL:
                rest = shape
            case Parameter.VAR_KEYWORD:
                others = shape
            case kind:
                if kind is not Parameter.KEYWORD_ONLY:
                    parameters.append((parameter.name, shape))
                if kind is not Parameter.POSITIONAL_ONLY:
                    keywords[parameter.name] = shape
    returns = _result(func, _resolved(signature.return_annotation, names))
    types = Types(tuple(parameters), keywords, rest, others, returns)
    said = [*keywords.values(), *(shape for _, shape in parameters), rest, others, returns]
    return types if any(shape is not None for shape in said) else UNTYPED


def resolved(func: Callable[..., Any], annotation: Any) -> Any:
    """The type that an annotation of a function means; itself where that cannot be found out."""
    made = _resolved(annotation, _names(func), annotation)
    return Any if made is Parameter.empty else made


def _result(func: Callable[..., Any], annotation: Any) -> Shape | None:
    """The shape of what a body returns; for a generator function, of what its generator does."""
    if isinstance(annotation, Unresolved):
        return _shape(annotation)
    if inspect.isgeneratorfunction(func):
        if get_origin(annotation) is not Generator:
            return None
        annotation = [*get_args(annotation), Any, Any, Any][2]
    # Returning a value against `-> None` harms nobody, and there is nothing to rebuild.
    return None if annotation in (None, type(None)) else shape_of(annotation)


def _variable(parameters: list[Parameter]) -> bool:
    """Whether the context is one of `*args`, which may be typed."""
    return bool(parameters) and parameters[0].kind is Parameter.VAR_POSITIONAL


def _of(parameter: Parameter, names: _Names) -> Any:
    """What a parameter takes; a default of None says that it takes None."""
    annotation = _resolved(parameter.annotation, names)
    said = annotation is not Any and not isinstance(annotation, Unresolved)
    if parameter.default is not None or not said:
        return annotation
    try:
        return annotation | None
    except TypeError:  # it is no type
        return Any


def _shape(annotation: Any) -> Shape | None:
    if isinstance(annotation, Unresolved):
        return Shape.unresolved(annotation.text, annotation.error)
    return shape_of(annotation)


def _resolved(annotation: Any, names: _Names, unknown: Any = None) -> Any:
    """The type an annotation means; Any for one that is missing.

    For one that fails `unknown`, or else why.
    """
    if annotation is Parameter.empty:
        return Any
    holder = SimpleNamespace(__annotations__={"it": annotation})
    try:
        return get_type_hints(holder, *names, include_extras=True)["it"]
    except Exception as error:  # a name that is not there, or whatever the expression does
        return Unresolved(str(annotation), error) if unknown is None else unknown


def _names(func: Callable[..., Any]) -> _Names:
    """What a function's annotations can name: its module's globals, and what it encloses."""
    while isinstance(func, functools.partial):
        func = func.func
    func = inspect.unwrap(func)
    if not inspect.isroutine(func):
        func = type(func).__call__
    func = getattr(func, "__func__", func)
    enclosed: dict[str, Any] = {}
    code, cells = getattr(func, "__code__", None), getattr(func, "__closure__", None)
    for name, cell in zip(getattr(code, "co_freevars", ()), cells or (), strict=False):
        try:
            enclosed[name] = cell.cell_contents
        except ValueError:  # it is assigned later
            continue
    return getattr(func, "__globals__", {}), enclosed
