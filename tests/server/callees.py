"""What is behind queues of others, for tests of a ledger: it takes calls and answers them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from resonate_amqp.brokers.memory import MemoryConnection
from resonate_amqp.core.model import TARGET, PromiseState
from resonate_amqp.core.requests import PromiseCreate, PromiseGet
from resonate_amqp.ports import Delivery
from resonate_amqp.wire.codec import decode, encode_call
from resonate_amqp.wire.properties import Properties
from resonate_amqp.wire.topology import Queue
from tests.core.world import call
from tests.server.desk import LEDGER, START, Client, Desk, Office, deliveries

LATER = START + 86_400_000
CELERY = "celery://payments"
RPC = "queue://prices"


def asks(promise_id: str, target: str = CELERY, timeout_at: int = LATER) -> PromiseCreate:
    """A call of what is behind a queue of others."""
    param = encode_call("shop.charge", 1, (30,), {})
    return replace(call(promise_id, timeout_at), param=param, tags={TARGET: target})


class Callee:
    """Takes from a queue of its own, and answers as it likes."""

    def __init__(self, office: Office, queue: str = "payments") -> None:
        self.connection = office.broker.connect()
        self.connection.consume(Queue(queue), prefetch=100)

    def calls(self) -> list[Delivery]:
        """What came since the last time; all of it is acknowledged."""
        found = deliveries(self.connection)
        self.connection.ack(found)
        return found

    def answer(self, to: Delivery, body: bytes, **headers: Any) -> None:
        say(self.connection, to.correlation_id, body, to.reply_to, **headers)


def say(
    connection: MemoryConnection,
    correlation_id: str,
    body: bytes,
    reply_to: str = LEDGER,
    **headers: Any,
) -> None:
    named = {name.replace("_", ":"): value for name, value in headers.items()}
    properties = Properties(correlation_id=correlation_id, headers=named)
    connection.publish(reply_to, body, properties=properties)


def success(result: object) -> bytes:
    return json.dumps({"status": "SUCCESS", "result": result, "task_id": "x"}).encode()


def opened() -> tuple[Office, Desk, Client]:
    office = Office()
    return office, office.service(), office.client()


def outcome(desk: Desk, client: Client, promise_id: str) -> tuple[PromiseState, Any]:
    promise = client.ask(desk, PromiseGet(id=promise_id)).promise
    assert promise is not None
    return promise.state, decode(promise.value)
