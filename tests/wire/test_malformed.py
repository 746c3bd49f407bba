"""Messages that are not what the protocol allows: each refusal names the field."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from resonate_amqp.core.model import PROTOCOL
from resonate_amqp.core.requests import Group, TaskRelease
from resonate_amqp.errors import Malformed
from resonate_amqp.wire.envelope import (
    MAX_MESSAGE_BYTES,
    BadGroup,
    decode_execute,
    decode_replies,
    decode_requests,
    encode_execute,
    encode_replies,
    encode_unblock,
)
from tests.wire.messages import PENDING, RESOLVED, asking, message, refusal, step
from tests.wire.test_envelope import EXECUTE

GOOD = step("promise.get", id="p")
CREATE = step("promise.create", id="p", timeoutAt=5, tags={}, param={})


def escaped(text: str) -> bytes:
    """A message that asks for the promise with this id, its JSON written out by hand."""
    return asking(step("promise.get", id="@@")).replace(b"@@", text.encode())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "message: it is not JSON"),
        (b"{", "message: it is not JSON"),
        (b"hello", "message: it is not JSON"),
        (b'"\xff"', "message: it is not JSON"),
        (escaped(r"\ud800"), "message: it is not JSON"),
        (escaped(r"\udc00x"), "message: it is not JSON"),
        (b'{"a":NaN}', "message: it is not JSON"),
        (b'{"a":1e999}', "message: it is not JSON"),
        (b'{"a":' + b"9" * 5000 + b"}", "message: it is not JSON"),
        (b"[" * 200_000, "message: it is nested too deeply"),
        (b'{"a":' * 200_000, "message: it is nested too deeply"),
        (b"[]", "message: an object is expected, not list"),
        (b"null", "message: an object is expected, not nothing"),
        (b"{}", "message.kind: a string is expected, not nothing"),
        (b'{"kind":5}', "message.kind: a string is expected, not int"),
        (message("execute"), "message.kind: 'execute' where 'requests' is expected"),
        (b'{"kind":"requests"}', "message.version: a string is expected, not nothing"),
        (b'{"kind":"requests","version":"1999-01-01"}', "message.version: protocol '1999-01-01'"),
        (message(groups={}), "message.groups: a list is expected, not dict"),
        (message(groups=[3]), "groups[0]: an object is expected, not int"),
        (message(groups=[{}]), "groups[0].id: a string is expected, not nothing"),
        (asking(GOOD, group="g" * 65), "groups[0].id: more than 64 bytes are too many"),
        (asking(GOOD, group="\0"), "groups[0].id: it holds a NUL character"),
        (message(groups=[{"id": "g", "steps": "x"}]), "groups[0].steps: a list is expected"),
        (b" " * (MAX_MESSAGE_BYTES + 1), "message: 8388609 bytes are too many"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_a_message_whose_groups_cannot_be_told_apart_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as refused:
        decode_requests(body)
    assert str(refused.value).startswith(reason)


def test_the_version_that_is_spoken_is_named() -> None:
    with pytest.raises(Malformed, match=PROTOCOL):
        decode_requests(b'{"kind":"requests","version":"1999-01-01"}')


def test_a_bad_group_leaves_its_neighbours_alone() -> None:
    body = message(
        groups=[
            {"id": "g1", "steps": [GOOD]},
            {"id": "g2", "steps": [GOOD, step("promise.frobnicate", id="p")]},
            {"id": "g3", "steps": [GOOD]},
        ]
    )
    first, bad, last = decode_requests(body)
    assert isinstance(first, Group)
    assert isinstance(last, Group)
    error = "steps[1].kind: 'promise.frobnicate' is no request of this protocol"
    assert bad == BadGroup("g2", "promise.get", error)


LONG = {f"t{n}": "" for n in range(65)}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (3, "steps[0]: an object is expected, not int"),
        ({}, "steps[0].kind: a string is expected, not nothing"),
        ({"kind": "promise.get"}, "steps[0].data: an object is expected, not nothing"),
        (step("promise.get"), "steps[0].data.id: a string is expected, not nothing"),
        (step("promise.get", id=7), "steps[0].data.id: a string is expected, not int"),
        (step("promise.get", id=""), "steps[0].data.id: the id is empty"),
        (step("promise.get", id="x" * 256), "steps[0].data.id: id 'xxx"),
        (step("promise.get", id="x" * 3000), "steps[0].data.id: more than 2048 bytes are too many"),
        (step("promise.get", id="a\nb"), "steps[0].data.id: id 'a\\nb' holds a control"),
        (step("promise.get", id="a\0b"), "steps[0].data.id: it holds a NUL character"),
        (CREATE | {"data": {"id": "p"}}, "steps[0].data.timeoutAt: an integer is expected"),
        (step("promise.create", id="p", timeoutAt=2**63), "steps[0].data.timeoutAt: 9223372036"),
        (step("promise.create", id="p", timeoutAt=-(2**63) - 1), "steps[0].data.timeoutAt: -92"),
        (step("promise.create", id="p", timeoutAt=1.5), "steps[0].data.timeoutAt: an integer"),
        (step("promise.create", id="p", timeoutAt=True), "steps[0].data.timeoutAt: an integer"),
        (step("promise.create", id="p", timeoutAt="5"), "steps[0].data.timeoutAt: an integer"),
        (step("promise.create", id="p", timeoutAt=5, tags=[1]), "steps[0].data.tags: an object"),
        (step("promise.create", id="p", timeoutAt=5, tags={"a": 1}), "steps[0].data.tags.a: a st"),
        (step("promise.create", id="p", timeoutAt=5, tags=LONG), "steps[0].data.tags: 65 names"),
        (step("promise.create", id="p", timeoutAt=5, tags={"a\0": ""}), "steps[0].data.tags: a n"),
        (step("promise.create", id="p", timeoutAt=5, tags={"a": "\0"}), "steps[0].data.tags.a: i"),
        (
            step("promise.create", id="p", timeoutAt=5, tags={"a" * 256: ""}),
            "steps[0].data.tags: a name holds a NUL character or exceeds 255 bytes",
        ),
        (
            step("promise.create", id="p", timeoutAt=5, tags={"a": "€" * 683}),
            "steps[0].data.tags.a: more than 2048 bytes are too many",
        ),
        (
            step("promise.create", id="p", timeoutAt=5, tags={"resonate:target": "amqp://x"}),
            "steps[0].data.tags: target 'amqp://x' is not an address",
        ),
        (step("promise.create", id="p", timeoutAt=5, param=[1]), "steps[0].data.param: an object"),
        (
            step("promise.create", id="p", timeoutAt=5, param={"headers": {"f": 1}}),
            "steps[0].data.param.headers.f: a string is expected",
        ),
        (
            step("promise.create", id="p", timeoutAt=5, param={"data": "x" * 1_500_001}),
            "steps[0].data.param.data: more than 1500000 bytes are too many",
        ),
        (step("promise.settle", id="p", state="done"), "steps[0].data.state: 'done' is no state"),
        (
            step("promise.register_listener", awaited="p", address="orders"),
            "steps[0].data.address: 'orders' is not the name of a reply queue",
        ),
        (
            step("promise.register_callback", awaited="p"),
            "steps[0].data.awaiter: a string is expected",
        ),
        (step("task.acquire", id="p", version=0, pid="p", ttl=0), "steps[0].data.ttl: 0 is not po"),
        (
            step("task.acquire", id="p", version=0, pid="p", ttl=1, holder="h", redelivered="no"),
            "steps[0].data.redelivered: true or false is expected",
        ),
        (
            step("task.create", pid="p", ttl=1, holder="h", action=GOOD),
            "steps[0].data.action: promise.create is expected",
        ),
        (
            step("task.fence", id="p", version=1, holder="h", action=GOOD),
            "steps[0].data.action: promise.create or promise.settle is expected",
        ),
        (
            step("task.fulfill", id="p", version=1, holder="h", action=CREATE),
            "steps[0].data.action: promise.settle is expected",
        ),
        (
            step("task.suspend", id="p", version=1, holder="h", actions=[GOOD]),
            "steps[0].data.actions: callbacks of the task itself are expected",
        ),
        (
            step("task.heartbeat", pid="p", tasks=[{"id": "p", "version": 2**70}]),
            "steps[0].data.tasks[0].version: ",
        ),
        (step("task.heartbeat", pid="p", tasks={}), "steps[0].data.tasks: a list is expected"),
        (step("task.release", id="p", version=1, holder="h", delay=[]), "steps[0].data.delay: an"),
        (
            step("task.release", id="p", version=1, holder="h", delay=2**62),
            "steps[0].data.delay: 4611686018427387904 ms is longer than 10000000000000 ms",
        ),
        (
            step("task.release", id="p", version=1, holder="h", unknown=["f"]),
            "steps[0].data.unknown: a string is expected",
        ),
        (
            step("task.acquire", id="p", version=0, pid="p", ttl=10**13 + 1, holder="h"),
            "steps[0].data.ttl: 10000000000001 ms is longer than 10000000000000 ms",
        ),
        (
            step("task.create", pid="p", ttl=2**63 - 1, holder="h", action=CREATE),
            "steps[0].data.ttl: 9223372036854775807 ms is longer",
        ),
        (step("task.lease", id="p", version=1, holder="h"), "steps[0].data.ttl: an integer is exp"),
        (
            step("task.lease", id="p", version=1, holder="h", ttl=0),
            "steps[0].data.ttl: 0 is not positive",
        ),
        (
            step("task.lease", id="p", version=1, holder="h", ttl=2**62),
            "steps[0].data.ttl: 4611686018427387904 ms is longer",
        ),
        (step("task.lease", id="p", version=1, ttl=5), "steps[0].data.holder: a string is exp"),
        (step("task.halt", id="p", version="1"), "steps[0].data.version: an integer is expected"),
        (step("task.halt", id="p", holder=None), "steps[0].data.holder: a string is expected"),
        (step("task.redrive"), "steps[0].data.id: a string is expected"),
        (
            step("promise.create", id="p", timeoutAt=5, strict="yes"),
            "steps[0].data.strict: true or false is expected",
        ),
        (step("origin.get", id="p", limit="all"), "steps[0].data.limit: an integer is expected"),
        (step("origin.get", id="p", cursor=5), "steps[0].data.cursor: a string is expected"),
        (step("origin.get", id="p", cursor="x"), "steps[0].data.cursor: it is none that an"),
        (step("origin.get", id="p", cursor=" 1e9 p"), "steps[0].data.cursor: it is none that"),
        (step("origin.get", id="p", cursor=f" {2**63} p"), "steps[0].data.cursor: it is none"),
        (step("schedule.search", limit=1, cursor="odd 1 p"), "steps[0].data.cursor: it is none"),
        (
            step("task.search", states=["halted"], before=5, cursor="pending 1 p"),
            "steps[0].data.cursor: it is of a state that is not asked for",
        ),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else None,
)
def test_a_bad_request_names_its_field(bad: object, reason: str) -> None:
    assert refusal(bad).startswith(reason)


@pytest.mark.parametrize(
    ("good", "read"),
    [
        (step("task.release", id="p", version=1, holder="h", delay=10**13), 10**13),
        (step("task.release", id="p", version=1, holder="h", delay=-5), -5),
    ],
)
def test_a_delay_that_ends_within_64_bits_is_read(good: dict[str, Any], read: int) -> None:
    [group] = decode_requests(asking(good))
    assert isinstance(group, Group)
    [release] = group.steps
    assert isinstance(release, TaskRelease)
    assert release.delay == read


def test_a_group_without_requests_is_refused() -> None:
    assert refusal() == "steps: a group of no requests"


@pytest.mark.parametrize("steps", [[GOOD, "tree"], ["tree", GOOD]])
def test_a_query_for_a_tree_travels_alone(steps: list[Any]) -> None:
    """It is answered outside the transaction, so what stands beside it would be skipped."""
    tree = step("origin.get", id="p")
    assert "origin.get" in refusal(*(tree if one == "tree" else one for one in steps))


def test_requests_inside_requests_are_refused_before_the_stack_ends() -> None:
    nested = GOOD
    for _ in range(400):
        nested = step("task.fence", id="p", version=1, holder="h", action=nested)
    assert refusal(nested)


def forged(change: Callable[[dict[str, Any]], None]) -> bytes:
    """A good execute with one thing changed."""
    decoded = json.loads(encode_execute(EXECUTE))
    change(decoded["data"])
    return json.dumps(decoded).encode()


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda data: data.update(promise=None), "message.data.promise"),
        (lambda data: data.update(promise=[]), "message.data.promise"),
        (lambda data: data.update(task=3), "message.data.task"),
        (lambda data: data["task"].update(version="1"), "message.data.task.version"),
        (lambda data: data.pop("ticket"), "message.data.ticket"),
        (lambda data: data.update(repeat=1), "message.data.repeat"),
        (lambda data: data["promise"].update(id=5), "message.data.promise.id"),
        (lambda data: data["promise"].update(id="a\nb"), "message.data.promise.id"),
        (lambda data: data["promise"].update(state="done"), "message.data.promise.state"),
        (lambda data: data["promise"].update(tags=5), "message.data.promise.tags"),
        (lambda data: data["promise"].update(tags={"a": 1}), "message.data.promise.tags.a"),
        (lambda data: data["promise"].update(param=5), "message.data.promise.param"),
        (lambda data: data["promise"].update(value="x"), "message.data.promise.value"),
        (lambda data: data["promise"].update(timeoutAt=None), "message.data.promise.timeoutAt"),
        (lambda data: data["promise"].update(createdAt="x"), "message.data.promise.createdAt"),
        (lambda data: data["promise"].update(settledAt=[]), "message.data.promise.settledAt"),
    ],
)
def test_a_bad_execute_names_its_field(change: Callable[[dict[str, Any]], None], path: str) -> None:
    """A worker must be able to put it aside: what escaped would end one worker after another."""
    with pytest.raises(Malformed) as refused:
        decode_execute(forged(change))
    assert refused.value.path == path


@pytest.mark.parametrize(
    "body",
    [
        message("replies"),
        message("replies", now="x", replies=[], unblocks=[]),
        message("replies", now=1, replies=[3], unblocks=[]),
        message("replies", now=1, replies=[{"id": "g"}], unblocks=[]),
        message("replies", now=1, replies=[{"id": "g", "results": [3]}], unblocks=[]),
        message("replies", now=1, replies=[{"id": "g", "results": [{"kind": "x"}]}], unblocks=[]),
        message("replies", now=1, replies=[], unblocks=[{"data": {"promise": {"id": 1}}}]),
        message("replies", now=1, replies=[], unblocks=[{"data": {"promise": 5}}]),
        encode_replies(1, [], [encode_unblock(RESOLVED).replace(b'"param":{}', b'"param":5')]),
        encode_replies(1, [], [encode_unblock(PENDING).replace(b'"pending"', b'"done"')]),
    ],
)
def test_a_reply_that_cannot_be_read_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        decode_replies(body)
