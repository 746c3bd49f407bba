"""Celery's task messages, protocol 2, and the results that its backend `rpc` sends.

Written for workers that know nothing of us: of the releases of Celery since 4.0 each takes these
messages and answers in this form.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from resonate_amqp.core.model import PARENT, Promise, PromiseState, Value, origin_of
from resonate_amqp.core.reports import Reading
from resonate_amqp.errors import Malformed
from resonate_amqp.wire.codec import Call, decode, decode_call, encode_failure, recorded_result
from resonate_amqp.wire.fields import INT64, MAX_KEY, Fields
from resonate_amqp.wire.properties import Outgoing, Properties
from resonate_amqp.wire.tags import check_name

PICKLE = "application/x-python-serialize"
ID = "resonate:id"
VERSION = "resonate:version"
ORIGIN = "resonate:origin"

LONGEST_REPR = 1024
MAX_HEADERS = 65_536
"""Characters; with all its properties, a message's headers have to fit into one frame."""
DEEPEST = 32
HIGHEST_PRIORITY = 255
LATEST = 253_402_300_799
"""The end of the year 9999: clients cannot read a later timestamp."""
FAILED = ("FAILURE", "REVOKED")


def check(param: Value) -> None:
    """Raise UsageError for the param of a promise that no task message can be made of."""
    call = decode(param)
    if isinstance(call, dict) and call.get("message") is not None:
        _original(call["message"], {}, "")
    else:
        called(param)


def called(param: Value) -> Call:
    """The call of a promise; raises UsageError when there is none whose function a header holds."""
    call = decode_call(param)
    check_name("func", call.func)
    return call


def task_message(promise: Promise, version: int, reply_to: str) -> Outgoing:
    """The message that has a Celery worker run a promise's function.

    A promise that was made of a task message is sent as that message, so that whoever sent it
    gets its result. `version` is the task's. Raises UsageError as `check` does.
    """
    origin = origin_of(promise.id)
    own = {ID: promise.id, VERSION: version, ORIGIN: origin}
    recorded = decode(promise.param)
    if isinstance(recorded, dict) and recorded.get("message") is not None:
        return _original(recorded["message"], own, promise.id)
    call = called(promise.param)
    parent = promise.tags.get(PARENT, promise.id)
    headers = {
        "lang": "py",
        "task": call.func,
        "id": promise.id,
        "root_id": origin,
        "parent_id": None if parent == promise.id else parent,
        "group": None,
        "shadow": None,
        "eta": None,
        "expires": _instant(promise.timeout_at),
        "retries": 0,
        "timelimit": [None, None],
        "argsrepr": _repr(call.args),
        "kwargsrepr": _repr(call.kwargs),
        "origin": "resonate-amqp",
        "ignore_result": False,
    }
    embedded = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return Outgoing(
        json.dumps([call.args, call.kwargs, embedded], separators=(",", ":")).encode(),
        reply_to,
        Properties(
            content_encoding="utf-8",
            correlation_id=promise.id,
            message_id=promise.id,
            priority=0,
            headers=headers | own,
        ),
    )


def read_result(body: bytes) -> Reading:
    """What a result says of its task: an outcome, or None when it is still under way.

    Raises Malformed for what is no result of Celery's in JSON.
    """
    try:
        decoded = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise Malformed(
            "result",
            f"it is not JSON ({error}); set result_serializer = 'json' in the callee's app",
        ) from None
    fields = Fields(decoded, "result")
    status = fields.text("status")
    if status == "SUCCESS":
        if "result" not in decoded:
            raise Malformed("result.result", "there is none")
        return recorded_result(decoded["result"])
    if status not in FAILED:
        return None
    traceback = decoded.get("traceback")
    return PromiseState.REJECTED, _failure(
        decoded.get("result"), status, traceback if isinstance(traceback, str) else ""
    )


def _failure(raised: Any, status: str, traceback: str) -> Value:
    """The error that a failed task ended with, as Celery's JSON describes it."""
    if not isinstance(raised, dict):
        return encode_failure(status, "" if raised is None else str(raised), traceback)
    name = str(raised.get("exc_type") or status)
    module = raised.get("exc_module")
    if isinstance(module, str) and module not in ("", "builtins"):
        name = f"{module}.{name}"
    told = raised.get("exc_message")
    args = told if isinstance(told, list) else [] if told is None else [told]
    message = ", ".join(one if isinstance(one, str) else json.dumps(one) for one in args)
    return encode_failure(name, message, traceback, args)


def _original(recorded: Any, own: Mapping[str, Any], promise_id: str) -> Outgoing:
    """The task message that a promise was made of, to be sent again."""
    message = Fields(recorded, "message")
    properties = message.object("properties")
    headers = message.raw("headers")
    check_table(headers, "message.headers")
    if len(json.dumps(headers)) > MAX_HEADERS:
        raise Malformed("message.headers", f"they are longer than {MAX_HEADERS} characters as JSON")
    Fields(headers, "message.headers").text("task")
    body = _body(message)
    priority = properties.integer("priority", 0) if properties.raw("priority") is not None else None
    if priority is not None and not 0 <= priority <= HIGHEST_PRIORITY:
        raise Malformed("message.properties.priority", f"{priority} is none")
    task_id = Fields(headers, "message.headers").text("id", promise_id, longest=MAX_KEY)
    return Outgoing(
        body,
        _short(properties, "reply_to"),
        Properties(
            content_type=_short(message, "content_type", "application/json"),
            content_encoding=_short(message, "content_encoding", "utf-8"),
            correlation_id=_short(properties, "correlation_id", task_id),
            message_id=_short(properties, "message_id", promise_id),
            type=_short(properties, "type"),
            app_id=_short(properties, "app_id"),
            priority=priority,
            headers={**headers, **own},
        ),
    )


def _body(message: Fields) -> bytes:
    """The body of a recorded message, in the form that it came in."""
    body = message.raw("body")
    if not isinstance(body, str):
        raise Malformed("message.body", f"a string is expected, not {type(body).__name__}")
    if _short(message, "content_type") == PICKLE:
        raise Malformed("message.content_type", f"{PICKLE} would run what anybody wrote")
    if message.raw("base64") is not True:
        return _utf8(body, "message.body")
    return _decoded(body, "message.body")


def _decoded(encoded: str, path: str) -> bytes:
    try:
        return b64decode(encoded, validate=True)
    except ValueError as error:
        raise Malformed(path, f"it is not base64 ({error})") from None


def check_table(value: Any, path: str, depth: int = 0) -> None:
    """Raise Malformed, naming the place, for what a header of a message cannot hold."""
    if depth > DEEPEST:
        raise Malformed(path, f"it is nested more than {DEEPEST} levels deep")
    match value:
        case {"resonate:bytes": str(encoded)} if len(value) == 1:
            _decoded(encoded, path)
        case {"resonate:timestamp": int(seconds)} if len(value) == 1:
            if not 0 <= seconds <= LATEST:
                raise Malformed(path, f"{seconds} is no instant")
        case dict():
            for name, item in value.items():
                if len(_utf8(name, path)) > MAX_KEY:
                    raise Malformed(path, f"the name {name[:40]!r}… has more than {MAX_KEY} bytes")
                check_table(item, f"{path}.{name}", depth + 1)
        case list():
            for number, item in enumerate(value):
                check_table(item, f"{path}[{number}]", depth + 1)
        case str():
            _utf8(value, path)
        case int() if not -INT64 <= value < INT64:
            raise Malformed(path, f"{value} is beyond 64 bits")
        case _:
            return


def _short(fields: Fields, name: str, default: str = "") -> str:
    """A property, which is a short string; the default where it is absent or null."""
    if fields.raw(name) is None:
        return default
    return fields.text(name, longest=MAX_KEY)


def _utf8(text: str, path: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Malformed(path, "it holds a lone surrogate, which is no character") from None


def _repr(arguments: Any) -> str:
    text = repr(arguments)
    return text if len(text) <= LONGEST_REPR else f"{text[:LONGEST_REPR]}…"


def _instant(at: int) -> str | None:
    """An instant as Celery writes it; None for one that no calendar has."""
    try:
        return datetime.fromtimestamp(at / 1000, UTC).isoformat()
    except (OverflowError, OSError, ValueError):
        return None
