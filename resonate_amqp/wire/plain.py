"""Plain values: what JSON holds as it is, and how to make what it does not hold plain.

A class derived from one of JSON's own types is no plain value: JSON would make its base of it, and
whoever reads the value would get that instead.
"""

from __future__ import annotations

import enum
import math
from collections import Counter, OrderedDict, defaultdict
from typing import Any

from resonate_amqp.errors import Encoding

MAX_DEPTH = 200
# Python refuses to print integers of more than 4300 digits, which are this many bits.
MAX_INTEGER_BITS = 14_284
SHORT = 2**63
BASES = (dict, list, tuple, str, int, float)
REBUILT = (OrderedDict, Counter)
"""Dictionaries of other classes that an annotation makes again."""


def check(value: Any, path: str, depth: int = 0) -> None:
    """Raise Encoding, naming the place, for what JSON would not give back as it was.

    That tuples come back as lists is no loss.
    """
    kind = type(value)
    if kind is dict:
        _check_depth(path, depth)
        for key, item in value.items():
            if type(key) is not str:
                raise Encoding(path, _odd_key(key))
            check_text(key, path)
            if not _is_short(item):
                check(item, f"{path}.{key}", depth + 1)
    elif kind is list or kind is tuple:
        _check_depth(path, depth)
        for number, item in enumerate(value):
            if not _is_short(item):
                check(item, f"{path}[{number}]", depth + 1)
    elif kind is str:
        check_text(value, path)
    elif kind is int:
        if value.bit_length() > MAX_INTEGER_BITS:
            raise Encoding(path, "the integer has more than 4300 digits")
    elif kind is float:
        if not math.isfinite(value):
            raise Encoding(path, f"{value} is not a JSON number")
    elif value is not None and kind is not bool:
        raise Encoding(path, refusal(value))


def check_text(text: str, path: str) -> None:
    """Raise Encoding for a text that is no sequence of characters."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Encoding(path, "the text holds a lone surrogate, which is no character") from None


def flattened(value: Any) -> Any:
    """The value with the base of each class that is derived from one of JSON's own types."""
    base = base_of(value)
    if base is dict:
        return {_flat_key(key): flattened(item) for key, item in dict.items(value)}
    if base is list or base is tuple:
        return [flattened(item) for item in value]
    if base is None or base is type(value) or isinstance(value, bool):
        return value
    # An enum's own methods tell its name, and a safe string of Django's stays one under `str`.
    return {str: str.__str__, int: int.__int__, float: float.__float__}[base](value)


def _flat_key(key: Any) -> Any:
    return str.__str__(key) if isinstance(key, str) else key


def base_of(value: Any) -> type | None:
    """The type of JSON that a value's class is derived from; None for any other class."""
    return next((base for base in BASES if isinstance(value, base)), None)


def refusal(value: Any) -> str:
    """Why a value is not recorded, and what to do about it."""
    kind = type(value)
    base = base_of(value)
    if base is None or base is kind:
        return (
            f"{kind.__name__} is not a JSON type, and no annotation known here rebuilds it; "
            "annotate the parameter or result and call the function by its object, or pass null, "
            "booleans, numbers, strings, lists or objects"
        )
    made = "list" if base is tuple else base.__name__
    return (
        f"{kind.__name__} is a class derived from {base.__name__}, and would come back as a plain "
        f"{made}; {remedy(value)}"
    )


def remedy(value: Any) -> str:
    """How a value of a class derived from one of JSON's own types can be passed all the same."""
    kind = type(value)
    if isinstance(value, enum.Enum):
        return f"pass its value (x.value), or annotate the parameter or result with {kind.__name__}"
    if isinstance(value, defaultdict):
        return "pass dict(x); what makes its missing values cannot be recorded"
    if kind in REBUILT:
        return f"pass dict(x), or annotate the parameter or result with {kind.__name__}[…]"
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return f"pass tuple(x), or annotate the parameter or result with {kind.__name__}"
    if isinstance(value, str):
        return 'pass a plain str, such as "".join(x)'
    base = base_of(value)
    return f"pass {base.__name__}(x)" if base else f"pass a plain value instead of {kind.__name__}"


def _is_short(value: Any) -> bool:
    """Whether a value needs no further look: most are such, and need no path to be made."""
    kind = type(value)
    if kind is str:
        return bool(value.isascii())
    if kind is int:
        return bool(-SHORT < value < SHORT)
    return value is None or kind is bool


def _check_depth(path: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Encoding(path, f"it is nested more than {MAX_DEPTH} levels deep")


def _odd_key(key: Any) -> str:
    kind = type(key).__name__
    if isinstance(key, str):
        return (
            f"key {str.__str__(key)!r} is of type {kind}, and would come back as a plain string; "
            "use plain strings, or annotate the keys"
        )
    return f"key {key!r} is of type {kind}, not a string"
