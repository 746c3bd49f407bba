"""Values: what a caller hands over and what is recorded, base64 of JSON.

Never pickle. What JSON cannot hold is refused with its place (`args[0].price`) unless an annotation
rebuilds it, so that a body sees the same values live as on replay: where nothing is annotated
tuples come back as lists, and nothing else changes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resonate_amqp.core.model import EMPTY, Promise, PromiseState, Value
from resonate_amqp.errors import Canceled, Encoding, RemoteError, TimedOut
from resonate_amqp.wire.failures import MAX_NAME, made_again, record_of, taken_apart
from resonate_amqp.wire.plain import check, check_text
from resonate_amqp.wire.tags import check_name
from resonate_amqp.wire.typed import UNTYPED, Shape, Types

MAX_VALUE_BYTES = 1024 * 1024
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
    """An exception as it is recorded: with all that Python would print of it, shortened.

    Raises nothing, whatever the exception is. A traceback from another process comes before the
    one from here.
    """
    record = taken_apart(error)
    try:
        return _rejection(record)
    except Encoding:  # a text of control characters takes six times its length
        return encode_failure(record["type"], record["message"][:MAX_NAME], record["traceback"])


def encode_failure(
    name: str, message: object, trace: str, args: list[Any] | tuple[Any, ...] | None = None
) -> Value:
    """An error as it is recorded, from its parts; `args` only if they can be."""
    return _rejection(record_of(name, message, trace, args))


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
    return made_again(record, errors)


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


def _rejection(record: dict[str, Any]) -> Value:
    return Value({"error": record["type"]}, _packed(record, "error"))


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


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


_read = json.JSONDecoder(parse_constant=_no_number).decode
