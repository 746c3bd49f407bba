"""The four messages on the broker, and their bytes.

*requests* (to the ledger) and *replies* (from it) carry independent groups; *execute* offers one
task to a group of workers; *unblock* tells an address of settled promises, and travels inside a
replies message. All are JSON; `version` names the protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from resonate_amqp.core.model import PROTOCOL, Promise, Task
from resonate_amqp.core.requests import Group, OriginGet, Request, Response
from resonate_amqp.errors import Malformed
from resonate_amqp.wire.fields import Fields
from resonate_amqp.wire.records import (
    check_promise,
    read_promise,
    read_response,
    read_tree,
    write_promise,
    write_response,
    write_tree,
)
from resonate_amqp.wire.requests import read_request, write_request

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
MAX_REPLY_BYTES = MAX_MESSAGE_BYTES - 65_536

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

Tree = list[tuple[Promise, Task | None]]


@dataclass(frozen=True, slots=True)
class BadGroup:
    """A group that could be told apart, but not read: it is answered 400 with `error`."""

    id: str
    kind: str
    error: str


@dataclass(frozen=True, slots=True)
class ExecuteMessage:
    """An offered task as a worker receives it; `ticket` is this very message's."""

    promise: Promise
    version: int
    ticket: str
    repeat: bool
    now: int


@dataclass(frozen=True, slots=True)
class Reply:
    """The answers to one group, in the order of its steps; a tree where a step asked for one."""

    id: str
    responses: tuple[Response, ...]
    tree: Tree | None = None


@dataclass(frozen=True, slots=True)
class Replies:
    """What one message to a reply queue holds; `now` is the ledger's time of writing."""

    now: int
    replies: tuple[Reply, ...]
    unblocked: tuple[Promise, ...]


def encode_group(group: Group) -> bytes:
    """One group's JSON; `encode_requests` joins several."""
    steps = [write_request(step) for step in group.steps]
    return _encode({"id": group.id, "steps": steps})


def encode_requests(groups: Sequence[bytes]) -> bytes:
    """A requests message of groups encoded before."""
    head = b'{"kind":"requests","version":"' + PROTOCOL.encode() + b'","groups":['
    return head + b",".join(groups) + b"]}"


def decode_requests(body: bytes) -> list[Group | BadGroup]:
    """The groups of a requests message; raises Malformed when they cannot be told apart."""
    outer = _message(body, "requests")
    groups: list[Group | BadGroup] = []
    for number, decoded in enumerate(outer.list("groups")):
        path = f"groups[{number}]"
        fields = Fields(decoded, path)
        group_id = fields.text("id", longest=64)
        steps = fields.list("steps")
        try:
            groups.append(Group(id=group_id, steps=_read_steps(steps)))
        except Malformed as error:
            groups.append(BadGroup(group_id, _kind_of(steps), str(error)))
    return groups


def encode_reply(group: Group, responses: Sequence[Response], tree: Tree | None) -> bytes:
    """One group's answers, as many as a message holds; `encode_replies` joins several."""
    results = [
        write_response(step.kind, response)
        for step, response in zip(group.steps, responses, strict=False)
    ]
    if tree is not None:
        results = [write_tree(tree)]
    reply = _encode({"id": group.id, "results": results})
    if len(reply) <= MAX_REPLY_BYTES:
        return reply
    if tree is not None:
        error = f"the tree is {len(reply)} bytes long, which no message holds; lower the limit"
        return encode_bad_reply(group.id, OriginGet.kind, 400, error)
    return _encode({"id": group.id, "results": _that_fit(results)})


def encode_bad_reply(group_id: str, kind: str, status: int, error: str) -> bytes:
    """The answer to a group that could not be read or applied."""
    result = write_response(kind, Response(status=status, error=error))
    return _encode({"id": group_id, "results": [result]})


def encode_unblock(promise: Promise) -> bytes:
    """A settled promise, for a listener's address."""
    return _encode({"kind": "unblock", "head": {}, "data": {"promise": write_promise(promise)}})


def encode_replies(now: int, replies: Sequence[bytes], unblocks: Sequence[bytes]) -> bytes:
    """A replies message of answers and unblocks encoded before."""
    head = f'{{"kind":"replies","version":"{PROTOCOL}","now":{now},"replies":['.encode()
    return head + b",".join(replies) + b'],"unblocks":[' + b",".join(unblocks) + b"]}"


def decode_replies(body: bytes) -> Replies:
    """What a ledger sent to a reply queue; raises Malformed when it is nothing of the kind."""
    outer = _message(body, "replies")
    try:
        return _read_replies(outer)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Malformed("message", f"it is no replies message ({error!r})") from None


def _read_replies(outer: Fields) -> Replies:
    replies = []
    for reply in outer.list("replies"):
        results = reply["results"]
        if results and results[0]["kind"] == OriginGet.kind and "tree" in results[0]["data"]:
            replies.append(Reply(reply["id"], (Response(status=200),), read_tree(results[0])))
        else:
            replies.append(Reply(reply["id"], tuple(read_response(one) for one in results)))
    unblocked = tuple(read_promise(one["data"]["promise"]) for one in outer.list("unblocks"))
    return Replies(outer.integer("now"), tuple(replies), unblocked)


def encode_execute(message: ExecuteMessage) -> bytes:
    """The offer of one task, a message of its own."""
    promise = message.promise
    data: dict[str, Any] = {
        "task": {"id": promise.id, "version": message.version},
        "promise": write_promise(promise),
        "ticket": message.ticket,
        "repeat": message.repeat,
    }
    head = {"now": message.now}
    return _encode({"kind": "execute", "version": PROTOCOL, "head": head, "data": data})


def decode_execute(body: bytes) -> ExecuteMessage:
    """The offered task; raises Malformed when the message is no execute."""
    outer = _message(body, "execute")
    data = outer.object("data")
    return ExecuteMessage(
        promise=check_promise(data.object("promise")),
        version=data.object("task").integer("version"),
        ticket=data.text("ticket"),
        repeat=data.boolean("repeat"),
        now=outer.object("head").integer("now"),
    )


def encode_dead(body: bytes, reason: str, queue: str) -> bytes:
    """What cannot be processed, as it stands in the dead-letter queue."""
    text = body[:MAX_MESSAGE_BYTES].decode(errors="backslashreplace")
    return _encode({"kind": "dead", "reason": reason, "queue": queue, "body": text})


def _message(body: bytes, kind: str) -> Fields:
    if len(body) > MAX_MESSAGE_BYTES:
        raise Malformed("message", f"{len(body)} bytes are too many; {MAX_MESSAGE_BYTES} at most")
    try:
        decoded = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed("message", f"it is not JSON ({error})") from None
    except RecursionError:
        raise Malformed("message", "it is nested too deeply") from None
    fields = Fields(decoded, "message")
    found = fields.text("kind")
    if found != kind:
        raise Malformed("message.kind", f"{found!r} where {kind!r} is expected")
    version = fields.text("version")
    if version != PROTOCOL:
        raise Malformed(
            "message.version", f"protocol {version!r} is not spoken here; this is {PROTOCOL!r}"
        )
    return fields


def _read_steps(steps: Sequence[Any]) -> tuple[Request | OriginGet, ...]:
    try:
        read = tuple(read_request(step, f"steps[{n}]") for n, step in enumerate(steps))
    except RecursionError:
        raise Malformed("steps", "requests are nested too deeply") from None
    if not read:
        raise Malformed("steps", "a group of no requests")
    if len(read) > 1 and any(isinstance(step, OriginGet) for step in read):
        raise Malformed("steps", f"{OriginGet.kind} must be alone in its group")
    return read


def _that_fit(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first of a group's results: who asked for more has to ask again."""
    size = 0
    fitting: list[dict[str, Any]] = []
    for result in results:
        size += len(_encode(result)) + 1
        if fitting and size > MAX_REPLY_BYTES:
            break
        fitting.append(result)
    return fitting


def _kind_of(steps: Sequence[Any]) -> str:
    first = steps[0] if steps else None
    kind = first.get("kind") if isinstance(first, dict) else None
    return kind if isinstance(kind, str) else "unknown"
