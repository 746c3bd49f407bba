"""A shop of real processes: its own queue on a real broker, consumers, and a ledger."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pika
import pika.exceptions

from resonate_amqp import Resonate
from resonate_amqp.wire.address import DEAD_QUEUE
from tests.scenarios.system import Process, System, wait_until

GROUP = "shop"
QUEUE = "orders"
PERSISTENT = 2


class ShopSystem(System):
    """A system whose consumers are those of `tests.ext.kombu.consumer`."""

    def queue(self, name: str = QUEUE, **arguments: Any) -> None:
        """Declare a queue, as the shop did long ago."""
        with contextlib.closing(self._connection()) as broker:
            broker.channel().queue_declare(name, durable=True, arguments=arguments)

    def delete(self, name: str = QUEUE) -> None:
        """Delete a queue while it is consumed."""
        with contextlib.closing(self._connection()) as broker:
            broker.channel().queue_delete(name)

    def publish(self, *orders: str, queue: str = QUEUE, **body: Any) -> None:
        """Publish a message for each order, which is its id too."""
        with contextlib.closing(self._connection()) as broker:
            channel = broker.channel()
            channel.confirm_delivery()
            for order in orders:
                properties = pika.BasicProperties(
                    content_type="application/json",
                    content_encoding="utf-8",
                    delivery_mode=PERSISTENT,
                    message_id=order,
                )
                text = json.dumps({"order": order, **body})
                channel.basic_publish("", queue, text, properties, mandatory=True)

    def send(self, body: dict[str, Any], queue: str = QUEUE, **properties: Any) -> None:
        """Publish one message with these properties; `exchange` is where to, unless the queue."""
        given = {"content_type": "application/json", "content_encoding": "utf-8"} | properties
        exchange = str(given.pop("exchange", ""))
        with contextlib.closing(self._connection()) as broker:
            channel = broker.channel()
            channel.confirm_delivery()
            text = json.dumps(body)
            made = pika.BasicProperties(delivery_mode=PERSISTENT, **given)
            channel.basic_publish(exchange, queue, text, made, mandatory=True)

    def bind(self, exchange: str, *queues: str, kind: str = "fanout") -> None:
        """Declare an exchange, and bind queues to it."""
        with contextlib.closing(self._connection()) as broker:
            channel = broker.channel()
            channel.exchange_declare(exchange, kind, durable=True)
            for queue in queues:
                channel.queue_bind(queue, exchange, queue)

    def move(self, source: str, target: str) -> None:
        """Put a message back by hand: publish it again as it is, then take the first away."""
        with contextlib.closing(self._connection()) as broker:
            channel = broker.channel()
            channel.confirm_delivery()
            method, properties, body = channel.basic_get(source)
            assert method is not None
            channel.basic_publish("", target, body, properties, mandatory=True)
            channel.basic_ack(method.delivery_tag)

    def serve(self, group: str) -> None:
        """Look into a group's queue too when nothing may be left."""
        self._groups.add(group)

    def consumer(
        self, callback: str, queue: str = QUEUE, *, hold_max: float = 600, **options: str | float
    ) -> Process:
        """Start a consumer of a queue."""
        self.serve(str(options.get("group", GROUP)))
        given = [f"{name}={value}" for name, value in options.items()]
        module = "tests.ext.kombu.consumer"
        return self.program(module, queue, callback, *given, threads=8, hold_max=hold_max)

    def ready(self, queue: str = QUEUE) -> int:
        """How many messages of a queue nobody holds."""
        return int(self._declared(queue).message_count)

    def wait_for_consumers_of(self, count: int, queue: str = QUEUE) -> None:
        """Wait until a queue has so many consumers."""
        what = f"{count} consumers of {queue}"
        wait_until(what, lambda: self._consumers(queue) == count, poll_s=0.05)

    def executions(self, message_id: str) -> list[tuple[str, str]]:
        """Id and state of each promise that was made of messages called so, the oldest first."""
        return self.query(
            "SELECT promises.id, state FROM promises JOIN tags ON promise_id = promises.id "
            f"WHERE name = 'message_id' AND value = '{message_id}' ORDER BY created_at"
        )

    def outcome(self, message_id: str, timeout_s: float = 30.0) -> Any:
        """What the only execution of a message was resolved with, once it is settled."""

        def settled() -> str:
            found = self.executions(message_id)
            assert len(found) < 2, found
            return found[0][0] if found and found[0][1] != "pending" else ""

        what = f"{message_id} is settled"
        promise_id = wait_until(what, settled, timeout_s, poll_s=0.05)
        outside = Resonate(self.url, group="outside")
        try:
            return outside.get(promise_id).result(1)
        finally:
            outside.stop()

    def dead(self) -> list[dict[str, Any]]:
        """What was put aside, which is taken from there."""
        found = []
        with contextlib.closing(self._connection()) as broker:
            channel = broker.channel()
            while (got := channel.basic_get(DEAD_QUEUE, auto_ack=True))[2] is not None:
                found.append(json.loads(got[2]))
        return found

    def wait_for_empty(self, *queues: str) -> None:
        """Stop the consumers of these queues; nothing of what they held may come back."""
        for process in self._processes:
            if process.running and process.name.startswith("consumer"):
                process.terminate()
                assert process.wait() == 0
        for queue in queues or (QUEUE,):
            self.wait_for_consumers_of(0, queue)
            assert self.ready(queue) == 0
