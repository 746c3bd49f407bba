"""How the services of this shop are wired: connections, requests that wait for a reply, letters."""

from __future__ import annotations

import os
from typing import Any
from uuid import uuid4

from kombu import Connection, Queue
from kombu.pools import producers


def connect(url: str = "") -> Connection:
    """A connection whose publishes are confirmed by the broker; BROKER_URL names it, if none."""
    return Connection(url or os.environ["BROKER_URL"], transport_options={"confirm_publish": True})


def publish(connection: Connection, queue: str, body: Any) -> None:
    """Publish a message to a queue; when it returns, the broker has confirmed it."""
    _publish(connection, body, queue, declare=[Queue(queue)])


def call(connection: Connection, queue: str, request: Any) -> Any:
    """Send a request to a service's queue, and wait for the reply."""
    replies = Queue(f"replies.{uuid4().hex}", exclusive=True, auto_delete=True)
    with connection.clone() as own, own.SimpleQueue(replies, no_ack=True) as inbox:
        asked = {"reply_to": replies.name, "correlation_id": uuid4().hex}
        _publish(connection, request, queue, declare=[Queue(queue)], **asked)
        return inbox.get(timeout=30).payload


def reply(connection: Connection, request: Any, body: Any) -> None:
    """Send the reply to a request where its caller wants it."""
    asked = request.properties
    _publish(connection, body, asked["reply_to"], correlation_id=asked["correlation_id"])


def _publish(connection: Connection, body: Any, queue: str, **options: Any) -> None:
    with producers[connection].acquire(block=True) as producer:
        producer.publish(body, routing_key=queue, retry=True, timeout=10, **options)
