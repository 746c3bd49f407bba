"""What the durability tax is taken from: a Kombu consumer and a Celery task of one line each.

    TAX_KIND=plain|durable python -m tests.benchmarks.taxed consume MESSAGES
    TAX_KIND=plain|durable celery -A tests.benchmarks.taxed worker -Q tax
    python -m tests.benchmarks.taxed call MESSAGES IN_FLIGHT

`consume` and `call` print one JSON line: how many seconds it took. The address of the broker comes
by RESONATE_AMQP_URL.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from typing import Any

from celery import Celery
from kombu import Connection, Consumer, Producer, Queue

from resonate_amqp import Resonate
from resonate_amqp.ext.celery import durable as durable_task
from resonate_amqp.ext.kombu import durable as durable_callback

URL = os.environ["RESONATE_AMQP_URL"]
DURABLE = os.environ.get("TAX_KIND") == "durable"
RESULT_S = 60

resonate = Resonate(group="tax")
app = Celery("tax", broker=URL, backend="rpc://")
app.conf.task_default_queue = "tax"
app.conf.worker_prefetch_multiplier = 64


def work(number: int) -> int:
    return number + 1


task: Any = app.task(name="work")(durable_task(resonate)(work) if DURABLE else work)


def on_message(body: int, message: Any) -> None:
    work(body)
    message.ack()


def consume(messages: int) -> None:
    """Publish so many messages, then take them, one after another."""
    callback: Any = durable_callback(resonate)(on_message) if DURABLE else on_message
    left = messages
    began = 0.0

    def counted(body: int, message: Any) -> None:
        nonlocal left, began
        if left == messages - 1:
            began = time.perf_counter()  # the first one connects, which is paid once
        callback(body, message)
        left -= 1

    with Connection(URL) as connection:
        queue = Queue("tax-messages")
        producer = Producer(connection.channel())
        for number in range(messages):
            producer.publish(
                number, routing_key=queue.name, message_id=str(number), declare=[queue]
            )
        consumer = Consumer(
            connection.channel(), [queue], callbacks=[counted], accept=["json"], prefetch_count=64
        )
        with consumer:
            while left:
                connection.drain_events(timeout=RESULT_S)
        tell(time.perf_counter() - began)
    resonate.stop()


def call(messages: int, in_flight: int) -> None:
    """Have the worker run so many tasks, at most `in_flight` at once, and read every result."""
    task.delay(0).get(timeout=RESULT_S)
    began = time.perf_counter()
    open_calls: deque[Any] = deque()
    for number in range(messages):
        if len(open_calls) == in_flight:
            open_calls.popleft().get(timeout=RESULT_S)
        open_calls.append(task.delay(number))
    for one in open_calls:
        one.get(timeout=RESULT_S)
    tell(time.perf_counter() - began)


def tell(seconds: float) -> None:
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    if sys.argv[1] == "consume":
        consume(int(sys.argv[2]))
    else:
        call(int(sys.argv[2]), int(sys.argv[3]))
