"""A bare RPC over RabbitMQ with pika, nothing durable: `server`, or `client N S`.

Needs BARE_URL (an empty virtual host) and BARE_QUEUE_TYPE.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import pika

REQUESTS, REPLIES = "bare.requests", "bare.replies"
BODY = json.dumps({"func": "b", "args": [], "kwargs": {}, "version": 1}).encode()


def connect(
    queue: str, arguments: dict[str, Any], received: Any, ready: Callable[..., None]
) -> Any:
    def opened(channel: Any) -> None:
        def declared(_frame: Any) -> None:
            channel.basic_qos(prefetch_count=512)
            channel.basic_consume(queue, received, callback=lambda _ok: ready(channel))

        channel.queue_declare(queue, callback=declared, **arguments)

    return pika.SelectConnection(
        pika.URLParameters(os.environ["BARE_URL"]),
        on_open_callback=lambda connection: connection.channel(on_open_callback=opened),
    )


def server() -> None:
    def received(channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        answer = pika.BasicProperties(delivery_mode=1, correlation_id=properties.correlation_id)
        channel.basic_publish("", properties.reply_to, BODY, answer)
        channel.basic_ack(method.delivery_tag)

    kind = {"durable": True, "arguments": {"x-queue-type": os.environ["BARE_QUEUE_TYPE"]}}
    connect(REQUESTS, kind, received, lambda _channel: None).ioloop.start()


def client(in_flight: int, seconds: float) -> None:
    """Print one JSON line: calls per second and latencies in ms."""
    began: dict[str, float] = {}
    took: list[float] = []
    until = 0.0

    def call(channel: Any) -> None:
        number = str(len(took) + len(began))
        began[number] = time.perf_counter()
        ask = pika.BasicProperties(delivery_mode=2, reply_to=REPLIES, correlation_id=number)
        channel.basic_publish("", REQUESTS, BODY, ask)

    def ready(channel: Any) -> None:
        nonlocal until
        until = time.perf_counter() + seconds
        for _ in range(in_flight):
            call(channel)

    def received(channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        now = time.perf_counter()
        took.append(now - began.pop(properties.correlation_id))
        channel.basic_ack(method.delivery_tag)
        if now < until:
            call(channel)
        elif not began:
            connection.ioloop.stop()

    connection = connect(REPLIES, {"auto_delete": True}, received, ready)
    connection.ioloop.start()
    print(json.dumps({"seconds": seconds, "took_ms": [round(one * 1000, 3) for one in took]}))


if __name__ == "__main__":
    if sys.argv[1] == "server":
        server()
    else:
        client(int(sys.argv[2]), float(sys.argv[3]))
