"""A shop in one process: an embedded ledger, and Kombu's memory transport for its queue."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.message import Message

from resonate_amqp import Resonate
from resonate_amqp.core.model import Promise
from resonate_amqp.resonate.embedded import Embedded

WAIT_S = 10.0


def wait_until(what: str, condition: Callable[[], Any]) -> Any:
    """What `condition` answers once that is true."""
    deadline = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {WAIT_S:g} s: {what}"
        time.sleep(0.005)
    return found


class Shop:
    """Publish, drain, and look at what became of it."""

    def __init__(self, **settings: Any) -> None:
        self.system = Embedded()
        self.resonate = Resonate(system=self.system, group="shop", **settings)
        self.connection = Connection("memory://")
        name = f"orders-{secrets.token_hex(4)}"
        self.queue = Queue(name, Exchange(name), name)
        self.channel = self.connection.channel()
        self._producer = Producer(self.channel, self.queue.exchange, name)
        self._bound = self.queue(self.channel)
        self._bound.declare()
        self.settled: list[tuple[str, bool]] = []

    def publish(self, body: Any, message_id: str | None = "order-1", **options: Any) -> None:
        """Publish a message with that id."""
        self._producer.publish(body, message_id=message_id, **options)

    def redeliver(self, message: Message) -> None:
        """Have a message delivered again, as one whose consumer died before it settled it."""
        self.channel._restore(message)

    def consumer(self, *callbacks: Any, **options: Any) -> Consumer:
        """A consumer of the queue, which begins to consume."""
        made: Consumer = Consumer(
            self.channel, [self.queue], callbacks=list(callbacks) or None, **options
        )
        made.consume()
        return made

    def drain(self, times: int = 1) -> None:
        """Take so many messages."""
        for _ in range(times):
            self.connection.drain_events(timeout=WAIT_S)

    def idle(self) -> bool:
        """Whether no further message comes."""
        try:
            self.connection.drain_events(timeout=0.05)
        except TimeoutError:
            return True
        return False

    def unsettled(self) -> int:
        """How many messages were received and not settled."""
        return len(self.channel.qos._delivered) - len(self.channel.qos._dirty)

    def await_settled(self) -> None:
        """Wait until every message received is settled."""
        wait_until("every message is settled", lambda: self.unsettled() == 0)

    def waiting(self) -> int:
        """How many messages lie in the queue."""
        return int(self.channel._size(self.queue.name))

    def promises(self, message_id: str = "order-1") -> list[Promise]:
        """The records of the executions and attempts of messages that were called so."""
        return self.resonate.promises.search("message_id", message_id)

    def promise(self, message_id: str = "order-1", func: str = "") -> Promise:
        """The record of the only execution of a message, by its name or by its explicit id."""
        found = [
            one
            for one in self.promises(message_id)
            if func in ("", one.param.headers["func"].rpartition(".")[2])
        ]
        assert len(found) < 2, [promise.id for promise in found]
        return found[0] if found else self.resonate.promises.get(message_id)

    def result(self, message_id: str = "order-1") -> Any:
        """What the execution of a message came to, once it did."""
        wait_until(f"{message_id} is claimed", lambda: self.promises(message_id))
        return self.resonate.get(self.promise(message_id).id).result(WAIT_S)

    def intent(self, message_id: str = "order-1", func: str = "") -> str | None:
        """What is recorded of the message's end."""
        return self.promise(message_id, func).value.headers.get("resonate:intent")

    def close(self) -> None:
        """Stop everything."""
        self.resonate.stop()
        self.system.close()
        self.channel.close()
        self.connection.close()


def acks(body: Any, message: Message) -> None:
    """A callback that does nothing but acknowledge."""
    message.ack()
