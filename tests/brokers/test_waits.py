"""How long a connection that cannot be made is waited for between attempts."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from pika.adapters.select_connection import IOLoop

from resonate_amqp.brokers.rabbitmq.link import Link
from resonate_amqp.brokers.rabbitmq.urls import parameters

MOST_TURNS = 10_000


class Hasty(IOLoop):  # type: ignore[misc]  # pika is untyped
    """An I/O loop on which a Link waits for nothing, and that knows how long it would have."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def call_later(self, delay: float, callback: Callable[..., Any]) -> object:
        """pika's; at once when a Link asks for it."""
        if isinstance(getattr(callback, "__self__", None), Link):
            self.waits.append(delay)
            delay = 0
        return super().call_later(delay, callback)


def test_a_broker_that_is_down_is_tried_after_a_tenth_of_a_second_then_ever_later() -> None:
    closed = socket.create_server(("127.0.0.1", 0))
    url = f"amqp://127.0.0.1:{closed.getsockname()[1]}"
    closed.close()
    loop = Hasty()
    loop.activate_poller()
    reasons: list[tuple[str, bool]] = []
    link = Link(
        loop,
        parameters(url, heartbeat_s=15, name="test"),
        lambda _connection: None,
        lambda reason, refused: reasons.append((reason, refused)),
        lambda _blocked: None,
    )
    for _ in range(MOST_TURNS):
        if len(loop.waits) == 9:
            break
        loop.poll()
        loop.process_timeouts()
    link.close()
    assert loop.waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    assert set(reasons) == {("Connection refused", False)}
    loop.deactivate_poller()
    loop.close()
