"""Whether a value that was flattened and rebuilt by an annotation kept its types."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import msgspec

from resonate_amqp.errors import Encoding
from resonate_amqp.wire.plain import base_of, remedy

SCALARS = (bool, int, float, str)
"""JSON's own, which an annotation may make something else of: text is a date where it says so."""


def compare(value: Any, rebuilt: Any, path: str, annotation: str) -> bool:
    """Whether a set is inside; raises Encoding where a value came back as another type.

    That JSON has no tuples is no loss, and plain JSON may become what the annotation makes of it.
    """
    if value is None or type(value) in SCALARS:
        return False
    if not _came_back(value, rebuilt):
        raise Encoding(path, _loss(value, rebuilt, annotation))
    back = dict(parts(rebuilt))
    inside = [
        compare(part, back[place], path + place, annotation)
        for place, part in parts(value)
        if place in back
    ]
    return isinstance(value, (set, frozenset)) or any(inside)


def check_order(value: Any, rebuilt: Any, path: str) -> None:
    """Raise Encoding where an OrderedDict did not keep its order."""
    if isinstance(value, OrderedDict) and list(value) != list(rebuilt):
        raise Encoding(
            path,
            "an OrderedDict is recorded in the order of its keys where the value holds sets; pass "
            "lists instead of the sets, or a list of pairs",
        )
    back = dict(parts(rebuilt))
    for place, part in parts(value):
        if place in back:
            check_order(part, back[place], path + place)


def parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What is inside a value, by its place in a path."""
    if isinstance(value, dict):
        yield from ((f".{key}", part) for key, part in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{number}]", part) for number, part in enumerate(value))
    elif isinstance(value, msgspec.Struct):
        yield from ((f".{name}", getattr(value, name)) for name in value.__struct_fields__)
    elif dataclasses.is_dataclass(value):
        names = (field.name for field in dataclasses.fields(value))
        yield from ((f".{name}", getattr(value, name, None)) for name in names)
    elif is_model(type(value)):
        yield from _fields(value)


def is_model(kind: Any) -> bool:
    """Whether a class is a model of pydantic."""
    return hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_validate_json")


def _fields(model: Any) -> Iterator[tuple[str, Any]]:
    """The fields that a model is dumped with."""
    for name, field in type(model).model_fields.items():
        if field.exclude is not True:
            yield f".{name}", getattr(model, name, None)
    for name, part in (model.model_extra or {}).items():
        yield f".{name}", part


def _came_back(value: Any, rebuilt: Any) -> bool:
    kind = type(value)
    if kind is dict:
        return _odd_keys(value) <= _odd_keys(rebuilt)
    if kind is list or kind is tuple:
        return True
    if isinstance(value, dict):
        return kind is type(rebuilt) and _odd_keys(value) <= _odd_keys(rebuilt)
    if isinstance(value, (set, frozenset)):
        return kind is type(rebuilt) and bool(value == rebuilt)
    # One of another class may stand for the same where it is no data structure: a UUID of a driver.
    alike = isinstance(value, type(rebuilt)) and not _is_structure(value)
    return kind is type(rebuilt) or alike


def _is_structure(value: Any) -> bool:
    return (
        base_of(value) is not None
        or isinstance(value, msgspec.Struct)
        or dataclasses.is_dataclass(value)
        or is_model(type(value))
    )


def _loss(value: Any, rebuilt: Any, annotation: str) -> str:
    what, made = type(value).__name__, type(rebuilt).__name__
    if isinstance(value, dict) and _odd_keys(value) - _odd_keys(rebuilt):
        what, made = f"a {what} with keys that are no strings", f"{made} with other keys"
    lost = f"{what} is not a JSON type, and annotation {annotation} makes a {made} of it"
    derived = base_of(value) not in (None, type(value))
    return f"{lost}; {remedy(value)}" if derived else lost


def _odd_keys(value: Any) -> set[type]:
    """The types of a dictionary's keys, plain strings left out."""
    keys = value if isinstance(value, dict) else ()
    return {type(key) for key in keys if type(key) is not str}
