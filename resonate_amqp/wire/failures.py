"""Failures: an exception taken apart into what JSON holds, and made again.

`type`, `message`, `traceback` and `args` are what every release writes. `notes`, `attributes` and,
of an exception group, `group` and `parts` are there where the exception has them.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from resonate_amqp.errors import REMOTE_LINES, RemoteError
from resonate_amqp.wire.plain import check, flattened
from resonate_amqp.wire.traces import MAX_TRACEBACK, shortened, trace_of

MAX_MESSAGE = 65_536
MAX_NAME = 1_000
MAX_NOTES = 16_384
MAX_PART = 500
MOST_NOTES = 3
MOST_PARTS = 40
MOST_NESTED = 8
ATTRIBUTES: Mapping[type[Exception], tuple[str, ...]] = {
    OSError: ("filename", "filename2"),
    ImportError: ("name", "path"),
    NameError: ("name",),
    AttributeError: ("name",),
}
"""What Python's own errors know beside their arguments."""


def taken_apart(error: BaseException) -> dict[str, Any]:
    """The record of an exception; raises nothing, whatever the exception is.

    It is far shorter than a value may be, unless most of its characters have to be escaped.
    """
    try:
        record = _of(error, MAX_MESSAGE)
        if isinstance(error, BaseExceptionGroup):
            record |= _group(error, [MOST_PARTS], MOST_NESTED)
    except Exception:  # the user's class may do anything while it is read
        record = record_of(type_name(type(error)), _message(error), "")
    record["traceback"] = text_of(trace_of(error))
    return record


def record_of(
    name: str, message: object, trace: str, args: list[Any] | tuple[Any, ...] | None = None
) -> dict[str, Any]:
    """The record of an error from its parts; `args` only if they can be."""
    record: dict[str, Any] = {
        "__type": "error",
        "type": text_of(name)[:MAX_NAME].replace("\0", r"\0"),
        "message": text_of(message)[:MAX_MESSAGE],
        "traceback": shortened(text_of(trace), MAX_TRACEBACK),
    }
    plain = None if args is None else _plain(args, MAX_MESSAGE)
    return record if plain is None else record | {"args": plain}


def made_again(record: Mapping[str, Any], errors: Mapping[str, type[Exception]]) -> Exception:
    """The exception that a record stands for; raises nothing, whatever the record holds.

    One of a builtin type, or of a type in `errors` by the name it is recorded under, comes back
    as itself, caused by the RemoteError; any other as the RemoteError.
    """
    remote = RemoteError(
        str(record.get("message", "")),
        str(record.get("type", "")),
        str(record.get("traceback", "")),
    )
    own = _own(record, remote, errors)
    _tell(remote if own is None else own, record)
    if own is None:
        return remote
    own.__cause__ = remote
    return own


def type_name(kind: type) -> str:
    """`ValueError` for a builtin, `package.module.Name` for any other type."""
    return (
        kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    )


def text_of(text: object) -> str:
    """A text that can be recorded: lone surrogates are written out."""
    plain = text if isinstance(text, str) else repr(text)
    return plain.encode(errors="backslashreplace").decode()


def _of(error: BaseException, longest: int) -> dict[str, Any]:
    """What is recorded of any exception, whether it stands alone or in a group."""
    if isinstance(error, RemoteError):
        record = record_of(error.type_name, _message(error), "")
    else:
        record = record_of(type_name(type(error)), _message(error), "", _args(error))
    record["message"] = record["message"][:longest]
    if notes := _notes(error):
        record["notes"] = notes
    if attributes := _attributes(error):
        record["attributes"] = attributes
    return record


def _args(error: BaseException) -> tuple[Any, ...]:
    """The arguments of an exception; the bytes that could not be decoded stand as Latin-1."""
    if type(error) is UnicodeDecodeError:
        encoding, undecoded, *others = error.args
        return (encoding, bytes(undecoded).decode("latin-1"), *others)
    return error.args


def _group(group: BaseExceptionGroup[Any], budget: list[int], levels: int) -> dict[str, Any]:
    """The parts of a group: at most as many as the budget of the whole tree, and levels, allow."""
    parts = []
    for error in group.exceptions:
        if not budget[0] or not levels:
            break
        budget[0] -= 1
        part = _of(error, MAX_PART)
        del part["traceback"]
        if "args" in part and len(json.dumps(part["args"])) > MAX_PART:
            del part["args"]
        if "notes" in part:
            part["notes"] = [note[:MAX_PART] for note in part["notes"][:MOST_NOTES]]
        if isinstance(error, BaseExceptionGroup):
            part |= _group(error, budget, levels - 1)
        parts.append(part)
    message = text_of(group.message)[:MAX_PART]
    return {"group": message, "parts": parts, "left_out": len(group.exceptions) - len(parts)}


def _notes(error: BaseException) -> list[str]:
    """What was noted on an exception, without the remote lines of ours."""
    told = getattr(error, "__notes__", None)
    if not isinstance(told, list):
        return []
    notes: list[str] = []
    left = MAX_NOTES
    for note in told:
        try:
            text = text_of(note)
        except Exception:  # what is no string has a __repr__ of its own
            continue
        if text.startswith(REMOTE_LINES):
            continue
        if len(text) >= left:
            return [*notes, shortened(text, max(left, 60)), "… further notes are left out"]
        notes.append(text)
        left -= len(text) + 1
    return notes


def _attributes(error: BaseException) -> dict[str, Any]:
    found = {}
    for kind, names in ATTRIBUTES.items():
        for name in names if isinstance(error, kind) else ():
            value = _path(getattr(error, name, None))
            if value is not None and _plain([value], MAX_PART) is not None:
                found[name] = flattened(value)
    return found


def _path(value: Any) -> Any:
    """A file's name as text, whatever it was opened by; any other value as it is."""
    with suppress(Exception):  # a path of the user's own may do anything
        value = value.__fspath__() if hasattr(value, "__fspath__") else value
    return text_of(value.decode(errors="backslashreplace")) if isinstance(value, bytes) else value


def _plain(args: Any, longest: int) -> list[Any] | None:
    """Arguments as JSON holds them; None where it cannot, or where they are too long."""
    try:
        plain = flattened(list(args))
        check(plain, "args")
        return plain if len(json.dumps(plain)) <= longest else None
    except Exception:  # no JSON, or a class of the user's that cannot be read
        return None


def _message(error: BaseException) -> str:
    try:
        return error.message if isinstance(error, RemoteError) else str(error)
    except Exception:  # the user's __str__ may do anything
        return "the error cannot be printed"


def _own(
    record: Mapping[str, Any], remote: RemoteError, errors: Mapping[str, type[Exception]]
) -> Exception | None:
    """The exception as one of its own type; None for a type that is not known, or cannot be."""
    kind = errors.get(remote.type_name) or getattr(builtins, remote.type_name, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        return None
    try:
        if isinstance(record.get("parts"), list) and issubclass(kind, ExceptionGroup):
            return kind(str(record.get("group", "")), _parts(record["parts"], errors))
        args = record.get("args", [remote.message])
        if kind is UnicodeDecodeError:
            args = [args[0], args[1].encode("latin-1"), *args[2:]]
        return kind(*args)
    except Exception:  # a type that takes other arguments stays a RemoteError
        return None


def _parts(parts: list[Any], errors: Mapping[str, type[Exception]]) -> list[Exception]:
    """The exceptions of a group; the traceback of the whole tells where they were raised."""
    made = []
    for part in parts:
        error = made_again(part, errors)
        error.__cause__ = None
        made.append(error)
    return made


def _tell(error: Exception, record: Mapping[str, Any]) -> None:
    """Give an exception back its attributes and notes, as far as the record is well-formed."""
    attributes, notes = record.get("attributes"), record.get("notes")
    known = attributes if isinstance(attributes, dict) else {}
    for kind, names in ATTRIBUTES.items():
        for name in names if isinstance(error, kind) else ():
            if name in known:
                with suppress(Exception):  # a registered type may have it as a property
                    setattr(error, name, known[name])
    for note in notes if isinstance(notes, list) else ():
        error.add_note(str(note))
    left_out = record.get("left_out")
    if isinstance(left_out, int) and left_out > 0:
        error.add_note(f"{left_out} more exceptions of this group are left out of the record")
