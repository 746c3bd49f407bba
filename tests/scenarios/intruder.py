"""Somebody who may write to the broker without knowing the protocol, and looks at the effect."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from resonate_amqp.core.model import PROTOCOL
from resonate_amqp.ports import Broker, Delivery, Event
from resonate_amqp.wire.address import DEAD_QUEUE, EXCHANGE, reply_queue
from resonate_amqp.wire.envelope import decode_replies
from resonate_amqp.wire.topology import Queue
from resonate_amqp.wire.topology import reply_queue as reply_queue_of

DEADLINE_S = 10.0


class Intruder:
    """Somebody who may write to the broker, and looks at what became of it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._seen: list[Event] = []
        self.address = reply_queue("intruder", "p", "e")
        broker.consume(reply_queue_of("intruder", "p", "e"), prefetch=0, auto_ack=True)
        broker.consume(Queue(DEAD_QUEUE), prefetch=100)

    def publish(self, body: bytes, *, key: str = "00", exchange: str = EXCHANGE) -> None:
        self._broker.publish(key, body, exchange=exchange, mandatory=True, reply_to=self.address)

    def ask(self, kind: str, **data: Any) -> str:
        """The error that a request of these fields is answered with."""
        self.publish(requests(kind, **data))
        [answer] = self.wait(self.address, 1)
        [response] = decode_replies(answer).replies[0].responses
        assert response.status == 400
        return response.error

    def dead(self, count: int) -> list[dict[str, str]]:
        """The first dead letters, once there are so many."""
        return [msgspec.json.decode(body) for body in self.wait(DEAD_QUEUE, count)]

    def wait(self, queue: str, count: int) -> list[bytes]:
        deadline = time.monotonic() + DEADLINE_S
        while len(self.bodies(queue)) < count:
            assert time.monotonic() < deadline, self._seen
            self._seen += self._broker.poll(20)
        return self.bodies(queue)

    def bodies(self, queue: str) -> list[bytes]:
        return [
            event.body
            for event in self._seen
            if isinstance(event, Delivery) and event.queue == queue
        ]


def requests(kind: str, **data: Any) -> bytes:
    steps = [{"kind": kind, "data": data}]
    return msgspec.json.encode(
        {"kind": "requests", "version": PROTOCOL, "groups": [{"id": "g1", "steps": steps}]}
    )
