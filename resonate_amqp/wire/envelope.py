"""The four messages on the broker, and their bytes.

*requests* (to the ledger) and *replies* (from it) carry independent groups; *execute* offers one
task to a group of workers; *unblock* tells an address of settled promises, and travels inside a
replies message. All are JSON; `version` names the protocol.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import msgspec

from resonate_amqp.core.model import PROTOCOL, Promise, Schedule, Task
from resonate_amqp.core.pages import START, Cursor, by_age, by_id, by_state
from resonate_amqp.core.requests import Group, Query, Request, Response, TaskSearch
from resonate_amqp.errors import ForeignVersion, Malformed
from resonate_amqp.wire.fields import Fields
from resonate_amqp.wire.pages import cursor_of, write_cursor
from resonate_amqp.wire.records import (
    check_promise,
    read_promise,
    read_response,
    read_tree,
    write_node,
    write_promise,
    write_response,
)
from resonate_amqp.wire.requests import read_request, write_request
from resonate_amqp.wire.schedules import read_schedule, write_schedule

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
MAX_REPLY_BYTES = MAX_MESSAGE_BYTES - 65_536
REQUESTS_BYTES = 1024 * 1024
MIRRORS = 1
LEVEL = MIRRORS
"""What this ledger understands and an earlier one would take for something else.

What an earlier one refuses, or may ignore, needs no level.
"""

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
    """The answers to one group, in the order of its steps; what was found where it is a query."""

    id: str
    responses: tuple[Response, ...]
    tree: Tree | None = None
    schedules: tuple[Schedule, ...] = ()
    cursor: Cursor | None = None
    """Where the next page begins: START when there is none, None from a ledger without pages."""


@dataclass(frozen=True, slots=True)
class Replies:
    """What one message to a reply queue holds; `now` is the ledger's time of writing."""

    now: int
    replies: tuple[Reply, ...]
    unblocked: tuple[Promise, ...]
    owners: tuple[int, ...] = ()
    level: int = 0


def encode_group(group: Group) -> bytes:
    """One group's JSON; `encode_requests` joins several."""
    steps = [write_request(step) for step in group.steps]
    return _encode({"id": group.id, "steps": steps})


def encode_requests(groups: Sequence[bytes]) -> bytes:
    """A requests message of groups encoded before."""
    head = b'{"kind":"requests","version":"' + PROTOCOL.encode() + b'","groups":['
    return head + b",".join(groups) + b"]}"


def requests_of(groups: Sequence[bytes]) -> Iterator[bytes]:
    """Requests messages of groups encoded before, in order, none much larger than it need be."""
    together: list[bytes] = []
    size = 0
    for group in groups:
        if together and size + len(group) > REQUESTS_BYTES:
            yield encode_requests(together)
            together, size = [], 0
        together.append(group)
        size += len(group)
    if together:
        yield encode_requests(together)


def decode_requests(body: bytes) -> list[Group | BadGroup]:
    """The groups of a requests message; raises Malformed when they cannot be told apart.

    None of a message of another protocol version can be read.
    """
    outer = _message(body, "requests")
    foreign = _foreign(outer)
    if foreign is not None:
        return _foreign_groups(outer, foreign)
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


def _foreign_groups(outer: Fields, foreign: ForeignVersion) -> list[Group | BadGroup]:
    """Whom to answer that their version is not spoken; raises `foreign` when nobody is found."""
    groups: list[Group | BadGroup] = []
    try:
        for decoded in outer.list("groups"):
            fields = Fields(decoded, "groups")
            group_id = fields.text("id", longest=64)
            groups.append(BadGroup(group_id, _kind_of(fields.raw("steps")), str(foreign)))
    except Malformed:
        raise foreign from None
    if not groups:
        raise foreign
    return groups


def encode_reply(group: Group, responses: Sequence[Response], tree: Tree | None) -> bytes:
    """One group's answers, as many as a message holds; `encode_replies` joins several."""
    results = [
        write_response(step.kind, response)
        for step, response in zip(group.steps, responses, strict=False)
    ]
    if tree is not None:
        return _found(group, "tree", [(write_node(*node), _stands(group, *node)) for node in tree])
    reply = _encode({"id": group.id, "results": results})
    if len(reply) <= MAX_REPLY_BYTES:
        return reply
    return _encode({"id": group.id, "results": _that_fit(results)})


def encode_timetable(group: Group, schedules: Sequence[Schedule]) -> bytes:
    """The answer to a query for schedules."""
    return _found(group, "schedules", [(write_schedule(one), by_id(one)) for one in schedules])


def _stands(group: Group, promise: Promise, task: Task | None) -> Cursor:
    """Where a record stands in the order of the query that found it."""
    if task is not None and isinstance(group.query, TaskSearch):
        return by_state(promise, task)
    return by_age(promise)


def _found(group: Group, name: str, found: Sequence[tuple[dict[str, Any], Cursor]]) -> bytes:
    """What a query found: as much as a page holds, or everything, or why that cannot be."""
    query = group.query
    data: dict[str, Any] = {}
    if query is not None and query.cursor is not None:
        page = found[: len(_that_fit([record for record, _ in found[: query.limit]]))]
        more = len(page) < len(found)
        data = {"cursor": write_cursor(page[-1][1] if more and page else START)}
        found = page
    data[name] = [record for record, _ in found]
    result = {"kind": group.steps[0].kind, "head": {"status": 200}, "data": data}
    reply = _encode({"id": group.id, "results": [result]})
    if len(reply) <= MAX_REPLY_BYTES:
        return reply
    error = f"the answer is {len(reply)} bytes long, which no message holds; lower the limit"
    return encode_bad_reply(group.id, group.steps[0].kind, 400, error)


def encode_bad_reply(group_id: str, kind: str, status: int, error: str) -> bytes:
    """The answer to a group that could not be read or applied."""
    result = write_response(kind, Response(status=status, error=error))
    return _encode({"id": group_id, "results": [result]})


def encode_unblock(promise: Promise) -> bytes:
    """A settled promise, for a listener's address."""
    return _encode({"kind": "unblock", "head": {}, "data": {"promise": write_promise(promise)}})


def encode_replies(
    now: int, replies: Sequence[bytes], unblocks: Sequence[bytes], owners: Sequence[int] = ()
) -> bytes:
    """A replies message of answers and unblocks encoded before.

    `owners` are the numbers of the ledger queues that keep the shards, when there are several.
    """
    head = f'{{"kind":"replies","version":"{PROTOCOL}","now":{now},"replies":['.encode()
    divided = b',"owners":' + _encode(list(owners)) if owners else b""
    tail = b'],"level":%d%b}' % (LEVEL, divided)
    return head + b",".join(replies) + b'],"unblocks":[' + b",".join(unblocks) + tail


def decode_replies(body: bytes) -> Replies:
    """What a ledger sent to a reply queue; raises Malformed when it is nothing of the kind.

    Raises ForeignVersion for one of another protocol version.
    """
    outer = _spoken(body, "replies")
    try:
        return _read_replies(outer)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Malformed("message", f"it is no replies message ({error!r})") from None


def _read_replies(outer: Fields) -> Replies:
    replies = []
    for reply in outer.list("replies"):
        results = reply["results"]
        if results and "tree" in results[0]["data"]:
            cursor = _cursor(results)
            found = read_tree(results[0])
            replies.append(Reply(reply["id"], (Response(status=200),), found, cursor=cursor))
        else:
            shown = results[0]["data"].get("schedules", ()) if results else ()
            responses = tuple(read_response(one) for one in results)
            listed = tuple(read_schedule(one) for one in shown)
            cursor = _cursor(results)
            replies.append(Reply(reply["id"], responses, schedules=listed, cursor=cursor))
    unblocked = tuple(read_promise(one["data"]["promise"]) for one in outer.list("unblocks"))
    owners = tuple(int(queue) for queue in outer.list("owners"))
    return Replies(
        outer.integer("now"), tuple(replies), unblocked, owners, outer.integer("level", 0)
    )


def _cursor(results: list[dict[str, Any]]) -> Cursor | None:
    text = results[0]["data"].get("cursor") if results else None
    return None if text is None else cursor_of(text)


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
    outer = _spoken(body, "execute")
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
    return fields


def _spoken(body: bytes, kind: str) -> Fields:
    """A message of the protocol version that is spoken here."""
    fields = _message(body, kind)
    foreign = _foreign(fields)
    if foreign is not None:
        raise foreign
    return fields


def _foreign(message: Fields) -> ForeignVersion | None:
    """The refusal of a message of another protocol version."""
    version = message.text("version")
    if version == PROTOCOL:
        return None
    return ForeignVersion(
        "message.version",
        f"protocol {version!r} is not spoken here, this is {PROTOCOL!r}; run releases of "
        "ledger and worker that speak the same",
    )


def _read_steps(steps: Sequence[Any]) -> tuple[Request | Query, ...]:
    try:
        read = tuple(read_request(step, f"steps[{n}]") for n, step in enumerate(steps))
    except RecursionError:
        raise Malformed("steps", "requests are nested too deeply") from None
    if not read:
        raise Malformed("steps", "a group of no requests")
    if len(read) > 1 and any(isinstance(step, Query) for step in read):
        kinds = ", ".join(kind.kind for kind in get_args(Query))
        raise Malformed("steps", f"a query ({kinds}) must be alone in its group")
    return read


def _that_fit(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first of a group's results, or of a query's: who asked for more has to ask again."""
    size = 0
    fitting: list[dict[str, Any]] = []
    for result in results:
        size += len(_encode(result)) + 1
        if fitting and size > MAX_REPLY_BYTES:
            break
        fitting.append(result)
    return fitting


def _kind_of(steps: Any) -> str:
    first = steps[0] if isinstance(steps, list) and steps else None
    kind = first.get("kind") if isinstance(first, dict) else None
    return kind if isinstance(kind, str) else "unknown"
