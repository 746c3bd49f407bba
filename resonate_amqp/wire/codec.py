"""Values: what a caller hands over and what is recorded, base64 of JSON.

Never pickle. What JSON cannot hold is refused with its place (`args[0].price`) unless an annotation
rebuilds it, so that a body sees the same values live as on replay: where nothing is annotated
tuples come back as lists, and nothing else changes.
"""

from __future__ import annotations

import base64
import builtins
import json
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resonate_amqp.core.model import EMPTY, Promise, PromiseState, Value
from resonate_amqp.errors import Canceled, Encoding, RemoteError, TimedOut
from resonate_amqp.wire.plain import check, check_text
from resonate_amqp.wire.tags import check_name
from resonate_amqp.wire.typed import UNTYPED, Shape, Types

MAX_VALUE_BYTES = 1024 * 1024
MAX_TRACEBACK = 16_384
MAX_MESSAGE = 65_536
MAX_NAME = 1_000
NO_ERRORS: Mapping[str, type[Exception]] = {}


@dataclass(frozen=True, slots=True)
class Call:
    """Which function a promise stands for, with its arguments as recorded."""

    func: str
    args: list[Any]
    kwargs: dict[str, Any]
    version: int


def encode(value: Any, path: str = "value", shape: Shape | None = None) -> Value:
    """The value as it is recorded; raises Encoding naming the place that cannot be.

    With a shape, what is recorded can be rebuilt by it.
    """
    plain = _plain_of(value, path, shape)
    if shape is not None and (plain is value or shape.always):
        shape.rebuild(plain, path)
    return EMPTY if plain is None else Value({}, _packed(plain, path))


def decode(value: Value) -> Any:
    """What `encode` was given; None for an empty value. Raises Encoding for anything else."""
    if not value.data:
        return None
    try:
        return _read(base64.b64decode(value.data, validate=True).decode())
    except (ValueError, RecursionError) as error:
        raise Encoding("value", f"the recorded data is not base64 of JSON ({error})") from error


def encode_call(
    func: str,
    version: int,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    types: Types = UNTYPED,
    message: Mapping[str, Any] | None = None,
) -> Value:
    """The param of a call; function and version stand in the headers too, for those who look.

    `types` are the function's, as far as they are known where the call is made; `message` is the
    one the call came by, when it is to be sent again as it was.
    """
    check_name("func", func)
    plain_args = [
        _plain_of(argument, f"args[{number}]", types.at(number))
        for number, argument in enumerate(args)
    ]
    plain_kwargs = {}
    for name, argument in kwargs.items():
        check_text(name, "kwargs")
        plain_kwargs[name] = _plain_of(argument, f"kwargs.{name}", types.at(name))
    call = {"func": func, "args": plain_args, "kwargs": plain_kwargs, "version": version}
    if message is not None:
        check(message, "message")
        call["message"] = message
    return Value({"func": func, "version": str(version)}, _packed(call, "arguments"))


def decode_call(param: Value) -> Call:
    """The call a param holds; raises Encoding when it holds none."""
    call = decode(param)
    if not isinstance(call, dict) or not isinstance(call.get("func"), str):
        raise Encoding("param", "it is not a call: {'func', 'args', 'kwargs', 'version'} expected")
    args, kwargs, version = call.get("args", []), call.get("kwargs", {}), call.get("version", 0)
    if not (isinstance(args, list) and isinstance(kwargs, dict) and isinstance(version, int)):
        raise Encoding("param", "args must be a list, kwargs an object and version an integer")
    return Call(call["func"], args, kwargs, version)


def encode_error(error: BaseException) -> Value:
    """An exception as it is recorded: type name, message, traceback; its args where JSON can.

    Raises nothing, whatever the exception is. A traceback from another process comes before the
    one from here.
    """
    remote = error if isinstance(error, RemoteError) else error.__cause__
    origin = remote.remote_traceback if isinstance(remote, RemoteError) else ""
    name = error.type_name if isinstance(error, RemoteError) else type_name(type(error))
    here = "".join(traceback.format_exception(error))
    trace = f"{origin}\n{here}" if origin else here
    args = None if isinstance(error, RemoteError) else error.args
    return encode_failure(name, _message(error), trace, args)


def encode_failure(
    name: str, message: object, trace: str, args: list[Any] | tuple[Any, ...] | None = None
) -> Value:
    """An error as it is recorded, from its parts; `args` only if they can be."""
    name = _plain(name)[:MAX_NAME].replace("\0", r"\0")
    record: dict[str, Any] = {
        "__type": "error",
        "type": name,
        "message": _plain(message)[:MAX_MESSAGE],
        "traceback": _plain(trace)[-MAX_TRACEBACK:],
    }
    if args is not None:
        try:
            if len(_data(args, "args")) <= MAX_MESSAGE:
                record["args"] = args
        except Encoding:
            record.pop("args", None)
    return Value({"error": name}, _packed(record, "error"))


def recorded_result(value: Any) -> tuple[PromiseState, Value]:
    """The verdict of a callee that came to `value`; one that cannot be recorded is an error."""
    try:
        return PromiseState.RESOLVED, encode(value, "result")
    except Encoding as refusal:
        return PromiseState.REJECTED, encode_error(refusal)


def error_of(promise: Promise, errors: Mapping[str, type[Exception]] = NO_ERRORS) -> Exception:
    """The exception a promise that was not resolved stands for.

    One of a builtin type, or of a type in `errors` by the name it is recorded under, comes back
    as itself, caused by the RemoteError; any other as the RemoteError.
    """
    if promise.state is PromiseState.REJECTED_TIMEDOUT:
        return TimedOut(f"promise {promise.id!r} was not settled before its deadline", "TimedOut")
    if promise.state is PromiseState.REJECTED_CANCELED:
        return Canceled(f"promise {promise.id!r} was canceled", "Canceled")
    try:
        record = decode(promise.value)
    except Encoding as error:
        return RemoteError(str(error), "Encoding")
    if not isinstance(record, dict) or record.get("__type") != "error":
        return RemoteError(json.dumps(record), "rejected")
    remote = RemoteError(
        str(record.get("message", "")),
        str(record.get("type", "")),
        str(record.get("traceback", "")),
    )
    kind = errors.get(remote.type_name) or getattr(builtins, remote.type_name, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        return remote
    try:
        own: Exception = kind(*record.get("args", [remote.message]))
    except Exception:  # a type that takes other arguments stays a RemoteError
        return remote
    own.__cause__ = remote
    return own


def result_of(
    promise: Promise,
    returns: Shape | None = None,
    errors: Mapping[str, type[Exception]] = NO_ERRORS,
) -> Any:
    """The value of a resolved promise; raises what the promise was rejected with.

    Raises Encoding for a value that does not fit what `returns` expects.
    """
    if promise.state is PromiseState.RESOLVED:
        value = decode(promise.value)
        return value if returns is None else returns.rebuild(value, f"result of {promise.id!r}")
    raise error_of(promise, errors)


def type_name(kind: type) -> str:
    """`ValueError` for a builtin, `package.module.Name` for any other type."""
    return (
        kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    )


def _data(value: Any, path: str) -> str:
    check(value, path)
    return _packed(value, path)


def _plain_of(value: Any, path: str, shape: Shape | None) -> Any:
    """The value itself when it is plain JSON, else what its shape makes of it.

    A value that is neither is refused for the reason that names the place more exactly.
    """
    if shape is not None and shape.always:
        tree = shape.flatten(value, path)
        check(tree, path)
        return tree
    try:
        check(value, path)
    except Encoding as no_json:
        if shape is None:
            raise
        try:
            tree = shape.flatten(value, path)
            check(tree, path)
        except Encoding as misfit:
            if len(no_json.path) > len(misfit.path):
                raise no_json from None
            raise
        return tree
    return value


def _packed(value: Any, path: str) -> str:
    raw = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    if len(raw) > MAX_VALUE_BYTES:
        raise Encoding(
            path,
            f"it is {len(raw)} bytes long as JSON, at most {MAX_VALUE_BYTES} are recorded; "
            "store it elsewhere and pass a reference",
        )
    return base64.b64encode(raw).decode()


def _plain(text: object) -> str:
    plain = text if isinstance(text, str) else repr(text)
    return plain.encode(errors="backslashreplace").decode()


def _message(error: BaseException) -> str:
    try:
        return error.message if isinstance(error, RemoteError) else str(error)
    except Exception:  # the user's __str__ may do anything
        return "the error cannot be printed"


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


_read = json.JSONDecoder(parse_constant=_no_number).decode
