"""Plain values: what Kombu's JSON carries and ours does not, as plain JSON and back.

Dates, times, decimals, UUIDs, bytes and whatever `kombu.utils.json.register_type` was given are
recorded under Kombu's own markers, `{"__type__": …, "__value__": …}`. Two markers are ours: `float`
for numbers that are no JSON numbers, and `items` for a dict whose keys are not all strings, or that
looks like a marker. So what a message or a task held comes back as it was; tuples come as lists.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from kombu.utils.json import JSONEncoder, object_hook

from resonate_amqp.errors import Encoding
from resonate_amqp.wire.typed import Shape

MAX_DEPTH = 180
"""Less than the codec's, since what is flattened stands inside of something."""

_MARKER = {"__type__", "__value__"}
_default: Callable[[Any], Any] = JSONEncoder().default
_decoded: Callable[[dict[str, Any]], Any] = object_hook


def flatten(value: Any, path: str = "value") -> Any:
    """The value as plain JSON; raises Encoding naming the place of what cannot be."""
    return _flat(value, path, 0)


def rebuild(plain: Any, path: str = "value") -> Any:
    """What `flatten` was given; raises Encoding for a marker that is not known here."""
    match plain:
        case list():
            return [rebuild(item, f"{path}[{number}]") for number, item in enumerate(plain)]
        case dict():
            built = {key: rebuild(item, f"{path}.{key}") for key, item in plain.items()}
            return _unmarked(built, path) if built.keys() == _MARKER else built
        case _:
            return plain


class Carried(Shape):
    """What Kombu's JSON carries, and beside that what an annotation rebuilds, if there is one."""

    always = True

    def __init__(self, annotated: Shape | None) -> None:
        self.name = "Any" if annotated is None else annotated.name
        self.refusal = ""
        self._annotated = annotated

    def flatten(self, value: Any, path: str) -> Any:
        """The value as plain JSON; raises Encoding for what neither carries."""
        try:
            tree = flatten(value, path)
        except Encoding as refused:
            if self._annotated is None:
                raise
            return self._by_annotation(value, path, refused)
        if self._annotated is None or not _is_marked(tree):
            return tree
        try:
            other = self._annotated.flatten(value, path)
        except Encoding:
            return tree
        return tree if _is_marked(other) else other

    def rebuild(self, value: Any, path: str) -> Any:
        """What `flatten` was given, or what the annotation makes of plain JSON."""
        if self._annotated is None or _is_marked(value):
            return rebuild(value, path)
        return self._annotated.rebuild(value, path)

    def _by_annotation(self, value: Any, path: str, refused: Encoding) -> Any:
        assert self._annotated is not None
        try:
            return self._annotated.flatten(value, path)
        except Encoding as misfit:
            raise (refused if len(refused.path) >= len(misfit.path) else misfit) from None


def carried(shape: Shape | None) -> Shape:
    """The shape of a value that Kombu's JSON may carry, whatever its annotation says."""
    return shape if isinstance(shape, Carried) else Carried(shape)


def _is_marked(plain: Any) -> bool:
    """Whether one of the markers is inside."""
    match plain:
        case list():
            return any(map(_is_marked, plain))
        case dict():
            return plain.keys() == _MARKER or any(map(_is_marked, plain.values()))
    return False


def _remedy(value: Any) -> str:
    kind = type(value).__name__
    if isinstance(value, set | frozenset):
        return (
            "hand over a list, such as sorted(…), or teach it once in every process: "
            f"kombu.utils.json.register_type({kind}, {kind!r}, sorted, {kind})"
        )
    return (
        "hand over plain values, such as its id or a dict of its fields, or teach it once in every "
        f"process: kombu.utils.json.register_type({kind}, {kind!r}, to_plain, from_plain)"
    )


def _flat(value: Any, path: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise Encoding(path, f"it is nested more than {MAX_DEPTH} levels deep")
    match value:
        case None | bool():
            return value
        case int():
            return int.__int__(value)
        case str():
            return str.__str__(value)
        case float():
            number = float.__float__(value)
            return number if math.isfinite(number) else _marked("float", str(number))
        case list() | tuple():
            return [_flat(item, f"{path}[{at}]", depth + 1) for at, item in enumerate(value)]
        case dict():
            return _flat_dict(value, path, depth)
        case bytearray() | memoryview():
            return _flat(bytes(value), path, depth)
    try:
        reduced = _default(value)
    except Exception as error:  # a type's own `__json__` may do anything
        raise Encoding(
            path,
            f"{type(value).__name__} is not a type that Kombu's JSON carries; {_remedy(value)}",
        ) from error
    return _flat_reduced(reduced, path, depth + 1)


def _flat_reduced(reduced: Any, path: str, depth: int) -> Any:
    """What Kombu made of a value: a marker stays one."""
    if isinstance(reduced, dict) and reduced.keys() == _MARKER:
        return _marked(reduced["__type__"], _flat(reduced["__value__"], path, depth + 1))
    return _flat(reduced, path, depth)


def _flat_dict(value: dict[Any, Any], path: str, depth: int) -> Any:
    if all(isinstance(key, str) for key in value) and value.keys() != _MARKER:
        return {
            str.__str__(key): _flat(item, f"{path}.{key}", depth + 1) for key, item in value.items()
        }
    pairs = []
    for key, item in value.items():
        if isinstance(key, tuple | frozenset):
            raise Encoding(path, f"key {key!r} is of type {type(key).__name__}, not a plain value")
        pairs.append([_flat(key, path, depth + 2), _flat(item, f"{path}.{key}", depth + 2)])
    return _marked("items", pairs)


def _unmarked(marked: dict[str, Any], path: str) -> Any:
    kind, value = marked["__type__"], marked["__value__"]
    try:
        if kind == "items":
            return dict(value)
        return float(value) if kind == "float" else _decoded(marked)
    except Exception as error:  # a registered decoder may raise anything
        raise Encoding(path, f"it is marked as {kind!r} and cannot be rebuilt: {error}") from error


def _marked(kind: str, value: Any) -> dict[str, Any]:
    return {"__type__": kind, "__value__": value}
