"""Typed values: what JSON has no type for, rebuilt by annotation where it is read.

msgspec knows the types: dataclasses, its own structs, enums, tuples, sets, dates, decimals and the
rest; `OrderedDict` and `Counter` are made here. Models of pydantic are flattened and rebuilt by
their own class, found by its marks, so that pydantic is never imported for them.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

import msgspec
from msgspec.inspect import CustomType, Field, Type, type_info

from resonate_amqp.errors import Encoding
from resonate_amqp.wire.kept import check_order, compare, is_model, parts
from resonate_amqp.wire.plain import MAX_DEPTH, REBUILT, refusal, remedy

EXACT = (bool, int, str)
LONGEST_PROBLEM = 500


class Shape:
    """What one annotation says of a value.

    `refusal` tells why the annotation cannot rebuild anything; values are then what JSON makes
    of them. It is empty for an annotation that can. With `always`, plain values are flattened too.
    """

    always = False

    def __init__(self, annotation: Any) -> None:
        self.name = _name(annotation)
        self.refusal = ""
        self._exact = annotation if annotation in EXACT else None
        self._adapter: Any = None
        self._box: Any = None
        try:
            self._box = _box(annotation)
        except Exception as error:  # an annotation may be anything, and so may what it names
            self._adapter = _adapter(annotation)
            if self._adapter is None:
                self.refusal = _reason(error)

    @classmethod
    def unresolved(cls, annotation: str, error: Exception) -> Shape:
        """The shape of an annotation whose names mean nothing where it stands."""
        made = cls(Any)
        made.name, made.refusal = annotation, _reason(error)
        return made

    def rebuild(self, value: Any, path: str) -> Any:
        """The value that JSON stands for; raises Encoding naming the place that does not fit."""
        if self.refusal or (self._exact is not None and type(value) is self._exact):
            return value
        try:
            if self._adapter is not None:
                return self._adapter.validate_json(json.dumps(value))
            box = msgspec.convert({"value": value}, self._box, str_keys=True, dec_hook=_rebuild)
        except Exception as error:  # the user's types may raise anything while they are built
            raise Encoding(*_misfit(error, path)) from error
        return box.value

    def flatten(self, value: Any, path: str) -> Any:
        """The JSON of a value, from which `rebuild` makes it again.

        Raises Encoding, naming the place, when the annotation would make something else of it.
        """
        if self.refusal:
            derived = f"; {remedy(value)}" if isinstance(value, defaultdict) else ""
            raise Encoding(
                path,
                f"{type(value).__name__} is not a JSON type, and annotation {self.name} cannot "
                f"rebuild it: {self.refusal}{derived}",
            )
        tree = self._flat(value, path, None)
        try:
            rebuilt = self.rebuild(tree, path)
        except Encoding as error:
            what = f"{type(value).__name__} does not fit annotation {self.name}"
            raise Encoding(error.path, f"{what}: {error.problem}") from error
        if compare(value, rebuilt, path, self.name):
            # Sets have no order, and a replay must ask for the same bytes.
            tree = self._flat(value, path, "deterministic")
            check_order(value, self.rebuild(tree, path), path)
        return tree

    def _flat(self, value: Any, path: str, order: Any) -> Any:
        try:
            if self._adapter is not None:
                return self._adapter.dump_python(value, mode="json", round_trip=True)
            return msgspec.to_builtins(value, str_keys=True, enc_hook=_flatten, order=order)
        except Exception as error:  # as above, while they are taken apart
            place = path + _place_of(value, error)
            raise Encoding(place, str(error)[:LONGEST_PROBLEM]) from error

    def __repr__(self) -> str:
        return f"<Shape of {self.name}>"


@dataclasses.dataclass(frozen=True, slots=True)
class Types:
    """The shapes of a function's parameters, the context left out, and of its result."""

    parameters: tuple[tuple[str, Shape | None], ...] = ()
    """Those that can be given by position, in order."""
    keywords: Mapping[str, Shape | None] = dataclasses.field(default_factory=dict)
    rest: Shape | None = None
    """Of each further argument, `*args`."""
    others: Shape | None = None
    """Of each further keyword argument, `**kwargs`."""
    returns: Shape | None = None

    def at(self, place: int | str) -> Shape | None:
        """The shape of an argument given by position or by keyword."""
        if isinstance(place, str):
            return self.keywords.get(place, self.others)
        return self.parameters[place][1] if place < len(self.parameters) else self.rest

    def rebuild(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments as a body gets them; raises Encoding naming the one that does not fit."""
        if self is UNTYPED:
            return args, kwargs
        names = [name for name, _ in self.parameters]
        names += [f"args[{place}]" for place in range(len(names), len(args))]
        return (
            [
                value if shape is None else shape.rebuild(value, names[place])
                for place, value in enumerate(args)
                for shape in (self.at(place),)
            ],
            {
                name: value if shape is None else shape.rebuild(value, name)
                for name, value in kwargs.items()
                for shape in (self.at(name),)
            },
        )


UNTYPED = Types()


def shape_of(annotation: Any) -> Shape | None:
    """The shape of an annotation; None for one that says nothing."""
    if annotation is Any or annotation is object:
        return None
    try:
        return _shape_of(annotation)
    except TypeError:  # it has no hash
        return Shape(annotation)


@functools.lru_cache(maxsize=1024)
def _shape_of(annotation: Any) -> Shape:
    return Shape(annotation)


def _box(annotation: Any) -> type[msgspec.Struct]:
    """A struct of one field: msgspec remembers the types of fields, not those of a call."""
    for kind in _customs(type_info(annotation), set()):
        if kind is not object and kind not in REBUILT and not is_model(kind):
            raise TypeError(f"nobody knows how to make a {kind.__qualname__} from JSON")
    return msgspec.defstruct("Box", [("value", annotation)])


def _customs(info: Any, seen: set[int]) -> Iterator[type]:
    """The classes inside a type that msgspec leaves to others."""
    if not isinstance(info, (Type, Field)) or id(info) in seen:
        return
    seen.add(id(info))
    if isinstance(info, CustomType):
        yield info.cls
    for name in info.__struct_fields__:
        part = getattr(info, name)
        for one in part if isinstance(part, tuple) else (part,):
            yield from _customs(one, seen)


def _models(annotation: Any) -> bool:
    return is_model(annotation) or any(_models(one) for one in get_args(annotation))


def _adapter(annotation: Any) -> Any:
    """pydantic's reader of a type that only it can read, as a union of two models; else None."""
    if not _models(annotation):
        return None
    try:
        return sys.modules["pydantic"].TypeAdapter(annotation)
    except Exception:  # its own refusals, of types that are msgspec's
        return None


def _rebuild(annotation: Any, value: Any) -> Any:
    """What msgspec leaves to others; raises ValueError for what does not fit."""
    kind = get_origin(annotation) or annotation
    if is_model(kind):
        return kind.model_validate_json(json.dumps(value))
    if kind not in REBUILT:
        return value
    inside = get_args(annotation) or (Any, Any)
    plain = dict.__class_getitem__((inside[0], int if kind is Counter else inside[-1]))
    try:
        return kind(msgspec.convert(value, plain, str_keys=True, dec_hook=_rebuild))
    except msgspec.ValidationError as error:
        # The place inside is one of this conversion alone, and not of the whole value.
        raise ValueError(str(error).replace(" - at `$", " - inside at `")) from error


def _flatten(value: Any) -> Any:
    if not is_model(type(value)):
        raise NotImplementedError(refusal(value))
    tree = value.model_dump(mode="json", by_alias=True, round_trip=True)
    _sort_sets(value.model_dump(mode="python", by_alias=True, round_trip=True), tree)
    return tree


def _place_of(value: Any, error: Exception) -> str:
    """Where inside a value that cannot be flattened the part stands that cannot be."""
    place = ""
    for _ in range(MAX_DEPTH):
        for step, part in parts(value):
            try:
                msgspec.to_builtins(part, str_keys=True, enc_hook=_flatten)
            except Exception as inner:
                if str(inner) == str(error):
                    place, value = place + step, part
                    break
        else:
            break
    return place


def _sort_sets(value: Any, tree: Any) -> None:
    """Give what was a set an order that every process gives it."""
    if isinstance(tree, dict) and isinstance(value, Mapping):
        for one, part in zip(value.values(), tree.values(), strict=False):
            _sort_sets(one, part)
    elif isinstance(tree, list) and isinstance(value, (set, frozenset)):
        tree.sort(key=json.dumps)
    elif isinstance(tree, list) and isinstance(value, (list, tuple)):
        for one, part in zip(value, tree, strict=False):
            _sort_sets(one, part)


def _misfit(error: Exception, path: str) -> tuple[str, str]:
    """Where a value does not fit, and why, in the words of msgspec or pydantic."""
    text, _, place = str(error).partition(" - at `$.value")
    path += place.rstrip("`")
    cause = error if hasattr(error, "errors") else error.__cause__
    if cause is not None and hasattr(cause, "errors"):
        first = cause.errors()[0]
        path += "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in first["loc"])
        text = first["msg"]
    return path, text[:LONGEST_PROBLEM]


def _reason(error: Exception) -> str:
    """Why an annotation cannot be used, and what to do where its names cannot be found."""
    text = str(error) or type(error).__name__
    if isinstance(error, NameError):
        return (
            f"{text} where the annotation is read. Define it at the top level of its module, and "
            "not in a function; import it outside of `if TYPE_CHECKING`"
        )
    return text


def _name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
