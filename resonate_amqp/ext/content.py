"""Content: what makes two messages of one name the same message, as a digest.

Content is the body and the headers that the producer wrote. Brokers and tracers write headers as
well, other ones at each passage of the same message; these do not count.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from resonate_amqp.wire.address import MAX_ROOT_ID, check_root_id, foreign_id

SIZE = 12
"""Bytes of a digest: a chance collision is to be expected among 2^48 messages of one name."""

ROOM = len(f".attempt-9999.retry-{'0' * 2 * SIZE}")
"""Bytes that the id of an execution leaves for those of its attempts."""

MAX_NAME = 2_000
"""Bytes of a message's name that are kept as a tag."""
_OURS = re.compile(r"\.(?=(attempt|retry|replaced)-)")

PASSAGE = re.compile(
    r"""
    resonate:.*                                         # ours
    | x-death | x-(first|last)-death-(queue|reason|exchange)                # RabbitMQ
    | x-delivery-count | x-acquired-count | x-stream-offset
    | x-received-from | x-shovelled | x-shovelled-timestamp | timestamp_in_ms       # its plugins
    | traceparent | tracestate | baggage | b3 | x-b3-.*                     # W3C, Zipkin
    | uber-trace-id | uberctx-.* | ot-tracer-.* | x-cloud-trace-context     # Jaeger, OpenTracing
    | x-amzn-trace-id | x-datadog-.* | newrelic | elastic-apm-.* | sentry-trace
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Headers that a message gets on its way. A decorator's `ignore_headers` names further ones."""


def own_headers(headers: Mapping[str, Any], ignored: Iterable[str] = ()) -> dict[str, Any]:
    """The headers that the producer wrote; `ignored` are names that do not count either."""
    others = {name.lower() for name in ignored}
    return {
        name: value
        for name, value in headers.items()
        if not PASSAGE.fullmatch(name) and name.lower() not in others
    }


def digest_of(*parts: Any) -> str:
    """A digest of these values, as text; equal values have one digest, in any process."""
    text = json.dumps(parts, sort_keys=True, default=_plain, separators=(",", ":"))
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=SIZE).hexdigest()


def named_by_producer(text: str) -> str:
    """An id that a producer chose, as a promise's: encoded where it could be taken for one of ours.

    Different texts stay different.
    """
    return _OURS.sub("%2E", foreign_id(text))


def tag_of(text: str) -> str:
    """A producer's name for a message as a tag holds it: without NUL, and not too long."""
    return text.replace("\0", "%00").encode(errors="replace")[:MAX_NAME].decode(errors="ignore")


def shortened(promise_id: str) -> str:
    """A root's id that leaves room for attempts: a longer one ends by its digest.

    Raises InvalidId for what may not name a root.
    """
    size = MAX_ROOT_ID - ROOM
    if len(promise_id.encode()) > size:
        head = promise_id.encode()[: size // 2].decode(errors="ignore")
        promise_id = f"{head}~{digest_of(promise_id)}"
    return check_root_id(promise_id)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return sorted(map(repr, value)) if isinstance(value, set | frozenset) else repr(value)
