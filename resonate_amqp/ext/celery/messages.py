"""Messages: what a task came by, as the ledger is to send it again.

A durable task that waits leaves its worker, and comes back as the same protocol-2 message: the same
id, reply_to, correlation_id and callbacks, so that whoever called it gets its result. Only `eta`
and `expires` are left out: they said when it might begin, and it has begun.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from celery import Celery
from celery.app.task import Context as Request
from kombu import Queue
from kombu.compression import compress
from kombu.serialization import dumps, registry

from resonate_amqp.core.model import Promise
from resonate_amqp.errors import Encoding
from resonate_amqp.wire.codec import decode
from resonate_amqp.wire.properties import BYTES, TIMESTAMP

ID_HEADER = "resonate:id"
WAITS_HEADER = "resonate:waits"
"""How often a message was sent again because its promise was under way elsewhere."""

QUEUE_HEADER = "resonate:queue"
"""The queue that this worker took a message from."""
RETRY_HEADER = "resonate:retry-of"
"""The promise a task began with, on the messages of a retry with other arguments."""
COPY_HEADER = "resonate:copy"
"""The queue that got one of several copies of a message, each of which is to be executed."""

JSON = "json"
JSON_TYPE = "application/json"
PICKLE = "application/x-python-serialize"
DELAYED = "celery_delayed_delivery"
"""The exchange of Celery's own delays on quorum queues; its keys begin with 28 bits."""

_HEADERS = (
    "id",
    "shadow",
    "group",
    "group_index",
    "retries",
    "timelimit",
    "root_id",
    "parent_id",
    "argsrepr",
    "kwargsrepr",
    "origin",
    "ignore_result",
    "replaced_task_nesting",
    "stamped_headers",
    "stamps",
)
_KEPT = ("message_id", "type", "app_id")
"""Properties that say what a message is. Those of its delivery, and `user_id`, which the broker
checks against who publishes, do not go with it."""
_EMBEDDED = ("callbacks", "errbacks", "chain", "chord")
_OF_DELIVERY = re.compile(r"x-delivery-count|x-acquired-count|resonate:.*")
"""Headers that the next delivery of a message has anew. Those that tell how it was dead-lettered
stay: the task may count by them."""
_BITS = 28


def names_promise(request: Request) -> bool:
    """Whether a message was sent for a promise."""
    return bool((request.headers or {}).get(ID_HEADER))


def custom_headers(request: Request) -> dict[str, Any]:
    """The headers that the caller gave a message, without those of its deliveries."""
    given = request.headers or {}
    return {name: value for name, value in given.items() if not _OF_DELIVERY.fullmatch(name)}


def template_of(name: str, request: Request, original: str = "") -> dict[str, Any]:
    """The message of a request, as JSON can hold it: in the serializer and compression it had.

    A body that is no text is base64, and says so. Only pickle is replaced, by JSON: whoever may
    write to the ledger could have a worker run whatever a pickle names.
    """
    headers = {one: getattr(request, one, None) for one in _HEADERS}
    headers |= {"lang": "py", "task": name, "eta": None, "expires": None}
    headers |= custom_headers(request)
    if original:
        headers[RETRY_HEADER] = original
    given: dict[str, Any] = request.properties or {}
    properties = {
        "reply_to": request.reply_to or "",
        "correlation_id": request.correlation_id or request.id,
        "delivery_mode": 2,
    } | {name: str(given[name]) for name in _KEPT if given.get(name)}
    priority = (request.delivery_info or {}).get("priority")
    if priority is not None:
        properties["priority"] = priority
    embedded = {one: getattr(request, one, None) for one in _EMBEDDED}
    content_type, encoding, body = _body(request, [request.args, request.kwargs, embedded])
    if compression := request.get("compression"):
        headers["compression"] = compression
        body, _ = compress(body, compression)
    text = body if isinstance(body, str) else b64encode(body).decode()
    return {
        "headers": json.loads(json.dumps(headers, default=_plain)),
        "properties": properties,
        "content_type": content_type,
        "content_encoding": encoding,
        "body": text,
        **({} if text is body else {"base64": True}),
    }


def came_by(promise: Promise, request: Request) -> bool:
    """Whether the ledger has this very call on record, and sends its message when it goes on."""
    try:
        call = decode(promise.param)
    except Encoding:
        return False
    message = call.get("message") if isinstance(call, dict) else None
    if not isinstance(message, Mapping):
        # It was called by target=celery://…, and the ledger made its message.
        return bool(request.id == promise.id)
    headers, properties = message.get("headers") or {}, message.get("properties") or {}
    recorded = headers.get("id"), properties.get("reply_to") or ""
    return recorded == (request.id, request.reply_to or "")


def target_of(app: Celery, request: Request) -> str:
    """Where a task that goes on is sent: the queue its message came from."""
    return f"celery://{quote(queue_of(app, request), safe='')}"


def queue_of(app: Celery, request: Request) -> str:
    """The queue a message came from.

    Where its consumer does not tell, its exchange and routing key do; where a binding is not known
    here, it is another queue that this worker takes.
    """
    if named := request.get(QUEUE_HEADER):
        return str(named)
    info = request.delivery_info or {}
    exchange, key = info.get("exchange") or "", info.get("routing_key") or ""
    if exchange == DELAYED:
        key = key.split(".", _BITS)[-1]
    queues = dict(app.amqp.queues.consume_from) or dict(app.amqp.queues)
    if exchange in ("", DELAYED) and (key in queues or exchange == ""):
        return str(key)
    found = [name for name, queue in queues.items() if _leads_to(queue, exchange, key)]
    bound = [name for name, queue in queues.items() if queue.exchange.name == exchange]
    return str(next(iter([*found, *bound, *queues]), key))


def _leads_to(queue: Queue, exchange: str, key: str) -> bool:
    pairs = [(queue.exchange, queue.routing_key)]
    pairs += [(one.exchange, one.routing_key) for one in queue.bindings]
    for source, pattern in pairs:
        if exchange != DELAYED and source.name != exchange:
            continue
        if source.type == "fanout" or pattern == key:
            return True
        if source.type == "topic" and _matches(pattern, key):
            return True
    return False


def _matches(pattern: str, key: str) -> bool:
    """Whether a topic exchange routes a key by a pattern."""
    words = [{"*": r"[^.]+", "#": r".*"}.get(word, re.escape(word)) for word in pattern.split(".")]
    regex = r"\.".join(words).replace(r"\..*", r"(\..*)?").replace(r".*\.", r"(.*\.)?")
    return re.fullmatch(regex, key) is not None


def _body(request: Request, payload: list[Any]) -> tuple[str, str, str | bytes]:
    content_type = (request.properties or {}).get("content_type") or ""
    named = registry.type_to_name.get(content_type, JSON)
    made, encoding, body = dumps(payload, serializer=JSON if content_type == PICKLE else named)
    return made, encoding, body


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {BYTES: b64encode(value).decode()}
    if isinstance(value, datetime):
        zoned = value if value.tzinfo else value.replace(tzinfo=UTC)
        return {TIMESTAMP: int(zoned.timestamp())}
    return list(value) if isinstance(value, set | frozenset | tuple) else str(value)
