"""Messages by hand, and records whose every field is filled."""

from __future__ import annotations

from typing import Any

import msgspec

from resonate_amqp.core.model import PROTOCOL, Promise, PromiseState, Task, TaskState, Value
from resonate_amqp.core.requests import Group, Request
from resonate_amqp.wire.envelope import BadGroup, decode_requests, encode_group, encode_requests

PENDING = Promise(
    id="order-42:1.2",
    state=PromiseState.PENDING,
    param=Value({"func": "charge", "version": "2"}, "eyJmdW5jIjoiY2hhcmdlIn0="),
    tags={"resonate:target": "poll://any@billing", "team": "café"},
    timeout_at=2_000_000,
    created_at=1_000_000,
)
RESOLVED = Promise(
    id="order-42:1.1",
    state=PromiseState.RESOLVED,
    param=Value(),
    tags={"resonate:scope": "local"},
    timeout_at=2_000_000,
    created_at=1_000_000,
    value=Value({}, "Mw=="),
    settled_at=1_000_500,
)
ACQUIRED = Task(
    id="order-42:1.2",
    state=TaskState.ACQUIRED,
    version=3,
    deliveries=1,
    pid="p1",
    ttl=60_000,
    expires_at=1_060_000,
)
HALTED = Task(id="order-42:1.2", state=TaskState.HALTED, version=4, reason="not deterministic")


def message(kind: str = "requests", **fields: Any) -> bytes:
    """A message of the protocol's version, with these fields beside its kind."""
    return msgspec.json.encode({"kind": kind, "version": PROTOCOL} | fields)


def asking(*steps: object, group: object = "g1") -> bytes:
    """A requests message of one group."""
    return message(groups=[{"id": group, "steps": list(steps)}])


def step(kind: str, **data: Any) -> dict[str, Any]:
    return {"kind": kind, "data": data}


def refusal(*steps: object) -> str:
    """Why the one group of these steps cannot be read."""
    [group] = decode_requests(asking(*steps))
    assert isinstance(group, BadGroup)
    return group.error


def there_and_back(*requests: Request) -> tuple[object, ...]:
    """The requests as the ledger reads them."""
    sent = Group(id="g1", steps=requests)
    [received] = decode_requests(encode_requests([encode_group(sent)]))
    assert isinstance(received, Group)
    assert received.id == "g1"
    return received.steps
