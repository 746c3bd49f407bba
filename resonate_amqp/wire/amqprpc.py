"""RPC over AMQP as its tutorials teach it: a JSON body, `reply_to` and `correlation_id`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from resonate_amqp.core.model import Promise, PromiseState, Value
from resonate_amqp.core.reports import Reading
from resonate_amqp.errors import Encoding, Malformed
from resonate_amqp.wire.codec import decode_call, encode_failure, recorded_result
from resonate_amqp.wire.properties import Outgoing, Properties
from resonate_amqp.wire.tags import check_name

FUNC = "resonate:func"
ERROR = "resonate:error"
LONGEST_EXPIRATION = 2**32 - 1
"""Milliseconds; RabbitMQ closes the channel of whoever asks for more."""


def check(param: Value) -> None:
    """Raise UsageError for the param of a promise that no request can be made of."""
    _body(param)


def request_message(promise: Promise, now: int, reply_to: str) -> Outgoing:
    """The request that stands for a call; it expires when the promise does.

    Raises UsageError as `check` does.
    """
    func, arguments = _body(promise.param)
    left = max(1, promise.timeout_at - now)
    return Outgoing(
        json.dumps(arguments, ensure_ascii=False, separators=(",", ":")).encode(),
        reply_to,
        Properties(
            content_encoding="utf-8",
            correlation_id=promise.id,
            message_id=promise.id,
            expiration=left if left <= LONGEST_EXPIRATION else None,
            headers={FUNC: func},
        ),
    )


def read_reply(body: bytes, headers: Mapping[str, Any]) -> Reading:
    """The outcome a reply tells: its JSON, or an error where the header ERROR holds a text.

    Raises Malformed for what is neither.
    """
    if ERROR in headers:
        error = headers[ERROR]
        if not isinstance(error, str):
            raise Malformed(f"headers.{ERROR}", f"a text is expected, not {type(error).__name__}")
        return PromiseState.REJECTED, encode_failure("", error, "")
    try:
        decoded = json.loads(body.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Malformed("reply", f"it is not JSON ({error})") from None
    return recorded_result(decoded)


def _body(param: Value) -> tuple[str, Any]:
    call = decode_call(param)
    check_name("func", call.func)
    if call.args and call.kwargs:
        raise Encoding(
            "kwargs",
            f"a call of {call.func!r} through queue:// is one JSON value: pass positional "
            "arguments or keywords, not both",
        )
    if call.kwargs:
        return call.func, call.kwargs
    return call.func, call.args[0] if len(call.args) == 1 else call.args


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")
