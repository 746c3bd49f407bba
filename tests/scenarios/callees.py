"""A shop that calls what knows nothing of us: a ledger, a worker, and a look at the broker."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pika
import pika.exceptions

from resonate_amqp import Resonate
from resonate_amqp.wire.address import DEAD_QUEUE
from tests.scenarios.system import ASK_BROKER_S, System, wait_until

WAIT_S = 30.0


class Shop:
    """A ledger process, and a worker of the group `shop` in this process."""

    def __init__(self, system: System, *options: str) -> None:
        """`options` are those of `ledger serve`."""
        self.system = system
        serve = ("ledger", "serve", *options)
        self.ledger = system.program("resonate_amqp", *serve) if options else system.ledger()
        system.wait_for_ledger()
        self.resonate = Resonate(system.url, group="shop", grace=1)
        self.resonate.start()

    def __enter__(self) -> Shop:
        return self

    def __exit__(self, *_: object) -> None:
        self.resonate.stop()

    def restart_ledger(self, **settings: float | str) -> None:
        """Kill the ledger, and start another."""
        self.ledger.kill()
        self.ledger = self.system.ledger(**settings)

    def has_queue(self, queue: str) -> bool:
        with self._channel() as channel:
            try:
                channel.queue_declare(queue, passive=True)
            except pika.exceptions.ChannelClosedByBroker:
                return False
            return True

    def depth(self, queue: str) -> int:
        """How many messages wait in a queue."""
        with self._channel() as channel:
            return int(channel.queue_declare(queue, passive=True).method.message_count)

    def wait_for_taker(self, queue: str) -> None:
        """Wait until somebody takes from a queue."""

        def taken() -> bool:
            with self._channel() as channel:
                try:
                    return bool(channel.queue_declare(queue, passive=True).method.consumer_count)
                except pika.exceptions.ChannelClosedByBroker:
                    return False

        wait_until(f"somebody takes from {queue}", taken, WAIT_S, poll_s=ASK_BROKER_S)

    def dead_letters(self, count: int = 1) -> list[dict[str, Any]]:
        """Take the first so many dead letters, once they are there."""
        found: list[dict[str, Any]] = []

        def all_there() -> bool:
            with self._channel() as channel:
                body = channel.basic_get(DEAD_QUEUE, auto_ack=True)[2]
            if body is not None:
                found.append(json.loads(body))
            return len(found) >= count

        wait_until(f"{count} dead letters", all_there, WAIT_S, poll_s=ASK_BROKER_S)
        return found

    @contextlib.contextmanager
    def _channel(self) -> Iterator[Any]:
        with contextlib.closing(pika.BlockingConnection(pika.URLParameters(self.system.url))) as on:
            yield on.channel()
