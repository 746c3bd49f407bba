"""Differences: in what the arguments of two calls differ, short enough for an error's text."""

from __future__ import annotations

from collections.abc import Iterator
from reprlib import Repr
from typing import Any

from resonate_amqp.core.model import Value
from resonate_amqp.errors import Encoding
from resonate_amqp.wire.codec import decode

LONGEST_CALL = 200
LONGEST_VALUE = 60
MOST_STEPS = 10_000
AROUND = 15
ABSENT = object()
_NAMES = ("args", "kwargs", "message")

_repr = Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = LONGEST_VALUE
_repr.maxlist = _repr.maxdict = 6
_repr.maxlevel = 4


def difference_of(recorded: Value, asked: Value) -> str:
    """What was recorded, what is asked for now, and where they differ first: parts of a sentence.

    Values that cannot be read here are told apart by nothing.
    """
    try:
        was, now = decode(recorded), decode(asked)
    except Encoding:
        return "the recorded ones cannot be read here"
    place, old, new = _first(_compared(was), _compared(now))
    if not place:
        return "they differ in how they are written only"
    return f"recorded {_shown(was)}, now {_shown(now)}; first difference at {place}: {old}, {new}"


def _compared(value: Any) -> Any:
    """The part of a value that makes a call the same; of what is no call, all of it."""
    if not _is_call(value):
        return {"data": value}
    return {name: value[name] for name in _NAMES if name in value}


def _is_call(value: Any) -> bool:
    return isinstance(value, dict) and {"func", "args", "kwargs"} <= value.keys()


def _shown(value: Any) -> str:
    """A value, or a call as it is written in Python."""
    if not _is_call(value) or not _well_formed(value):
        return _cut(_repr.repr(value))
    given = [_repr.repr(one) for one in value["args"][:6]]
    given += ["…"] if len(value["args"]) > 6 else []
    given += [f"{name}={_repr.repr(one)}" for name, one in list(value["kwargs"].items())[:6]]
    given += ["…"] if len(value["kwargs"]) > 6 else []
    return _cut(f"({', '.join(given)})")


def _well_formed(call: dict[str, Any]) -> bool:
    return isinstance(call["args"], list) and isinstance(call["kwargs"], dict)


def _first(was: Any, now: Any) -> tuple[str, str, str]:
    """The place of the first difference, and what stands there; empty when there is none."""
    left = [("", was, now)]
    for _ in range(MOST_STEPS):
        if not left:
            break
        place, old, new = left.pop()
        if type(old) is type(new) and isinstance(old, (dict, list)):
            left += reversed([part for part in _parts(place, old, new) if part[1] != part[2]])
        elif old != new:
            return (place.removeprefix("."), *_told(old, new))
    return "", "", ""


def _parts(place: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            yield f"{place}.{key}", old.get(key, ABSENT), new.get(key, ABSENT)
        return
    for number in range(max(len(old), len(new))):
        pair = [one[number] if number < len(one) else ABSENT for one in (old, new)]
        yield f"{place}[{number}]", pair[0], pair[1]


def _told(old: Any, new: Any) -> tuple[str, str]:
    """Both values; of two long texts what stands around the place where they part."""
    if isinstance(old, str) and isinstance(new, str) and max(len(old), len(new)) > LONGEST_VALUE:
        pairs = enumerate(zip(old, new, strict=False))
        at = next((at for at, (one, other) in pairs if one != other), min(len(old), len(new)))
        begin = max(at - AROUND, 0)
        end = begin + LONGEST_VALUE - AROUND
        return _window(old, begin, end), _window(new, begin, end)
    return _value(old), _value(new)


def _window(text: str, begin: int, end: int) -> str:
    before, after = "…" if begin else "", "…" if end < len(text) else ""
    return f"{before}{text[begin:end]!r}{after}"


def _value(value: Any) -> str:
    return "nothing" if value is ABSENT else _cut(_repr.repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_CALL else f"{text[: LONGEST_CALL - 1]}…"
