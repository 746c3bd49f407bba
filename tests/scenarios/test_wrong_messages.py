"""Messages that nobody can read: kept with their reason, and everybody goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from resonate_amqp import Context, Embedded, Resonate
from resonate_amqp.core.model import PROTOCOL
from resonate_amqp.wire.address import DEAD_QUEUE, any_queue
from resonate_amqp.wire.topology import ledger_objects
from tests.scenarios.intruder import Intruder, requests


@pytest.fixture
def system() -> Iterator[Embedded]:
    with Embedded() as made:
        yield made


@pytest.fixture
def resonate(system: Embedded) -> Iterator[Resonate]:
    made = Resonate(system=system, group="g", request_timeout=5, grace=0.2)
    made.register(double)
    made.start()
    yield made
    made.stop()


def double(_ctx: Context, n: int) -> int:
    return 2 * n


@pytest.fixture
def intruder(system: Embedded) -> Intruder:
    return Intruder(system.connect())


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{malformed", "message: it is not JSON"),
        (b"\xff", "message: it is not JSON"),
        (b"[" * 100_000, "message: it is nested too deeply"),
        (requests("promise.get", id="@").replace(b"@", rb"\ud800"), "message: it is not JSON"),
        (b'{"kind":"frobnicate"}', "message.kind: 'frobnicate' where 'requests' is expected"),
    ],
    ids=["json", "utf-8", "depth", "surrogate", "kind"],
)
def test_a_message_the_ledger_cannot_read_is_kept_with_its_reason(
    resonate: Resonate,
    intruder: Intruder,
    body: bytes,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        intruder.publish(body)
        [dead] = intruder.dead(1)
        assert resonate.rpc("call", double, 21).result(5) == 42
    assert dead["reason"].startswith(reason)
    assert dead["body"].encode()[:3] == body.decode(errors="backslashreplace").encode()[:3]
    assert dead["queue"] == "resonate.ledger.0"
    assert len(errors(caplog)) == 1


@pytest.mark.parametrize(
    ("kind", "data", "error"),
    [
        ("promise.frobnicate", {}, "steps[0].kind: 'promise.frobnicate' is no request"),
        (
            "promise.create",
            {"id": "p", "timeoutAt": 2**63},
            "steps[0].data.timeoutAt: 9223372036854775808 is beyond 64 bits",
        ),
        (
            "promise.create",
            {"id": "p", "timeoutAt": 1, "tags": {"resonate:target": "mq://x"}},
            "steps[0].data.tags: target 'mq://x' is not an address",
        ),
        ("promise.get", {"id": "a\nb"}, "steps[0].data.id: id 'a\\nb' holds a control character"),
        ("promise.get", {"id": "x" * 300}, "steps[0].data.id: id 'xxxxxxxxxx"),
    ],
)
def test_a_request_the_ledger_refuses_is_answered_with_the_field(
    resonate: Resonate, intruder: Intruder, kind: str, data: dict[str, Any], error: str
) -> None:
    assert resonate.rpc("before", double, 1).result(5) == 2
    assert intruder.ask(kind, **data).startswith(error)
    assert intruder.bodies(DEAD_QUEUE) == []
    assert resonate.rpc("after", double, 1).result(5) == 2


def _offer(change: Callable[[dict[str, Any]], None]) -> bytes:
    promise = {
        "id": "forged",
        "state": "pending",
        "param": {},
        "value": {},
        "tags": {},
        "timeoutAt": 1,
        "createdAt": 1,
    }
    data = {
        "task": {"id": "forged", "version": 0},
        "promise": promise,
        "ticket": "t",
        "repeat": False,
    }
    change(data)
    return msgspec.json.encode(
        {"kind": "execute", "version": PROTOCOL, "head": {"now": 1}, "data": data}
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{malformed", "message: it is not JSON"),
        (_offer(lambda data: data["promise"].update(id=5)), "message.data.promise.id"),
        (_offer(lambda data: data["promise"].update(tags=5)), "message.data.promise.tags"),
        (_offer(lambda data: data.pop("ticket")), "message.data.ticket"),
    ],
    ids=["json", "id", "tags", "ticket"],
)
def test_an_execute_no_worker_can_read_is_kept_with_its_reason(
    resonate: Resonate, intruder: Intruder, body: bytes, reason: str
) -> None:
    assert resonate.rpc("before", double, 1).result(5) == 2
    intruder.publish(body, key=any_queue("g"), exchange="")
    [dead] = intruder.dead(1)
    assert dead["reason"].startswith(reason)
    assert dead["queue"] == any_queue("g")
    assert resonate.rpc("after", double, 1).result(5) == 2


def test_an_execute_of_an_unknown_task_is_let_go(resonate: Resonate, intruder: Intruder) -> None:
    assert resonate.rpc("before", double, 1).result(5) == 2
    intruder.publish(_offer(lambda _: None), key=any_queue("g"), exchange="")
    assert resonate.rpc("after", double, 1).result(5) == 2
    assert intruder.bodies(DEAD_QUEUE) == []


def test_a_reply_nobody_can_read_is_dropped_and_said(
    system: Embedded, caplog: pytest.LogCaptureFixture
) -> None:
    pid = "p7"
    seen: list[str] = []
    resonate = Resonate(system=system, group="g", pid=pid, request_timeout=5, grace=0.2)
    resonate.register(double)
    with resonate, caplog.at_level(logging.ERROR):
        assert resonate.rpc("before", double, 1).result(5) == 2
        broker = system._broker
        [address] = [queue for queue in broker.queues() if queue.startswith("resonate.reply.g.p7")]
        for body in (b"{", b'{"kind":"replies"}', b"[" * 100_000):
            system.connect().publish(address, body)
        assert resonate.rpc("after", double, 1).result(5) == 2
        seen = errors(caplog)
    assert len([line for line in seen if "cannot be read" in line]) == 3


def test_an_execute_no_worker_can_read_waits_for_a_missing_dead_letter_queue(
    system: Embedded,
    resonate: Resonate,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert resonate.rpc("before", double, 1).result(5) == 2
    system._broker.delete(DEAD_QUEUE)
    connection = system.connect()
    with caplog.at_level(logging.ERROR):
        connection.publish(any_queue("g"), b"{malformed")
        assert resonate.rpc("after", double, 1).result(5) == 2
        connection.declare(*ledger_objects(0))
        [dead] = Intruder(connection).dead(1)
    assert dead["queue"] == any_queue("g")
    assert len(errors(caplog)) == 1
