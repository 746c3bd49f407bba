"""The yardstick: the bare message path of one durable hop, without any of the product.

caller -> ledger queue -> one commit (SQLite, synchronous=FULL) -> callee's queue -> ledger queue
-> one commit -> caller. No state machine, no recovery. Roles: `ledger`, `callee`, `caller N S`.
Needs SKETCH_URL (an empty virtual host), SKETCH_DB and SKETCH_QUEUE_TYPE.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import msgspec
import pika

ENCODE = msgspec.json.Encoder().encode
DECODE = msgspec.json.Decoder().decode
TRANSIENT = pika.BasicProperties(delivery_mode=1)
PERSISTENT = pika.BasicProperties(delivery_mode=2)
LEDGER, CALLEE, CALLEE_REPLIES, CALLER_REPLIES = "sketch.l", "sketch.b", "sketch.bu", "sketch.au"
PARAM = "eyJmdW5jIjoiYiIsImFyZ3MiOltdLCJrd2FyZ3MiOnt9LCJ2ZXJzaW9uIjoxfQ=="


class Peer:
    """One connection, one channel, some consumed queues, and messages coalesced per turn."""

    def __init__(
        self,
        queues: dict[str, dict[str, Any]],
        received: Callable[[Any, bytes], None],
        ready: Callable[[], None],
        *,
        prefetch: int = 0,
        confirm: bool = False,
    ) -> None:
        self._queues, self._received, self._ready = queues, received, ready
        self._prefetch, self._confirm = prefetch, confirm
        self._unsent: list[Any] = []
        self.connection = pika.SelectConnection(
            pika.URLParameters(os.environ["SKETCH_URL"]),
            on_open_callback=lambda c: c.channel(on_open_callback=self._opened),
        )

    def run(self) -> None:
        self.connection.ioloop.start()

    def later(self, action: Callable[[], None]) -> None:
        self.connection.ioloop.call_later(0, action)

    def request(self, *requests: Any) -> None:
        if not self._unsent:
            self.later(self._flush)
        self._unsent.extend(requests)

    def publish(self, queue: str, value: Any, *, persistent: bool = False) -> None:
        properties = PERSISTENT if persistent else TRANSIENT
        self.channel.basic_publish("", queue, ENCODE(value), properties)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        self.publish(LEDGER, unsent)

    def _opened(self, channel: Any) -> None:
        self.channel = channel
        if self._confirm:
            channel.confirm_delivery(lambda _frame: None)
        if self._prefetch:
            channel.basic_qos(prefetch_count=self._prefetch)
        left = set(self._queues)
        for name, arguments in self._queues.items():

            def declared(_frame: Any, name: str = name) -> None:
                channel.basic_consume(name, lambda _c, m, _p, body: self._received(m, body))
                left.discard(name)
                if not left:
                    self._ready()

            channel.queue_declare(name, callback=declared, **arguments)


class Ledger:
    """One transaction for everything that is ready, then what follows from it."""

    SCHEMA = """
        PRAGMA journal_mode=WAL;
        PRAGMA synchronous=FULL;
        CREATE TABLE promises(id TEXT PRIMARY KEY, state TEXT, param TEXT, value TEXT,
            target TEXT, awaiter TEXT, version INT, created INT, settled INT, tags TEXT);
        CREATE TABLE outbox(id TEXT PRIMARY KEY, queue TEXT);
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect(os.environ["SKETCH_DB"], isolation_level=None)
        self._database.executescript(self.SCHEMA)
        self._waiting: list[tuple[int, list[dict[str, Any]]]] = []
        self._pending: dict[str, dict[str, Any]] = {}
        self._sent: list[tuple[str]] = []
        queues = {LEDGER: {"durable": True}}
        self._peer = Peer(queues, self._received, lambda: None, prefetch=1000, confirm=True)
        self.run = self._peer.run

    def _received(self, method: Any, body: bytes) -> None:
        if not self._waiting:
            self._peer.later(self._commit)
        self._waiting.append((method.delivery_tag, DECODE(body)))

    def _commit(self) -> None:
        batch, self._waiting = self._waiting, []
        now = time.time_ns() // 1_000_000
        created, settled, outbox, answers = [], [], [], []
        for _, requests in batch:
            for one in requests:
                if one["kind"] == "create":
                    self._pending[one["id"]] = one
                    row = (one["id"], "pending", one["param"], None, one["target"])
                    created.append((*row, one["awaiter"], 0, now, None, "{}"))
                    outbox.append((one["id"], one["target"]))
                else:
                    asked = self._pending.pop(one["id"])
                    settled.append(("resolved", one["value"], now, one["id"]))
                    answers.append((asked["awaiter"], {"kind": "unblock", "id": one["id"]}))
                    answers.append((one["reply_to"], {"kind": "ok", "id": one["id"]}))
        self._store(created, settled, outbox)
        for promise_id, queue in outbox:
            message = {"kind": "execute", "id": promise_id, "param": PARAM}
            self._peer.publish(queue, [message], persistent=True)
        self._sent = [(promise_id,) for promise_id, _ in outbox]
        by_queue = defaultdict(list)
        for queue, answer in answers:
            by_queue[queue].append(answer)
        for queue, several in by_queue.items():
            self._peer.publish(queue, several)
        self._peer.channel.basic_ack(batch[-1][0], multiple=True)

    def _store(self, created: list[Any], settled: list[Any], outbox: list[Any]) -> None:
        run, many = self._database.execute, self._database.executemany
        run("BEGIN IMMEDIATE")
        many("INSERT INTO promises VALUES(?,?,?,?,?,?,?,?,?,?)", created)
        many("INSERT INTO outbox VALUES(?,?)", outbox)
        many("UPDATE promises SET state=?, value=?, settled=? WHERE id=?", settled)
        many("DELETE FROM outbox WHERE id=?", self._sent)
        run("COMMIT")


def callee() -> None:
    deliveries: dict[str, int] = {}

    def received(method: Any, body: bytes) -> None:
        for message in DECODE(body):
            if message["kind"] == "execute":
                deliveries[message["id"]] = method.delivery_tag
                settle = {"kind": "settle", "id": message["id"], "value": PARAM}
                peer.request(settle | {"reply_to": CALLEE_REPLIES})
            else:
                peer.channel.basic_ack(deliveries.pop(message["id"]))
        if method.routing_key == CALLEE_REPLIES:
            peer.channel.basic_ack(method.delivery_tag)

    queue = {"durable": True, "arguments": {"x-queue-type": os.environ["SKETCH_QUEUE_TYPE"]}}
    replies = {"auto_delete": True}
    peer = Peer({CALLEE: queue, CALLEE_REPLIES: replies}, received, lambda: None, prefetch=512)
    peer.run()


def caller(in_flight: int, seconds: float) -> None:
    """Print one JSON line: calls per second and latencies in ms."""
    began: dict[str, float] = {}
    took: list[float] = []
    prefix = os.urandom(4).hex()
    until = 0.0

    def call() -> None:
        promise_id = f"{prefix}:{len(took) + len(began)}"
        began[promise_id] = time.perf_counter()
        create = {"kind": "create", "id": promise_id, "param": PARAM, "target": CALLEE}
        peer.request(create | {"awaiter": CALLER_REPLIES})

    def ready() -> None:
        nonlocal until
        until = time.perf_counter() + seconds
        for _ in range(in_flight):
            call()

    def received(method: Any, body: bytes) -> None:
        now = time.perf_counter()
        for message in DECODE(body):
            took.append(now - began.pop(message["id"]))
            if now < until:
                call()
        peer.channel.basic_ack(method.delivery_tag)
        if now >= until and not began:
            peer.connection.ioloop.stop()

    peer = Peer({CALLER_REPLIES: {"auto_delete": True}}, received, ready)
    peer.run()
    print(json.dumps({"seconds": seconds, "took_ms": [round(one * 1000, 3) for one in took]}))


if __name__ == "__main__":
    role = sys.argv[1]
    if role == "ledger":
        Ledger().run()
    elif role == "callee":
        callee()
    else:
        caller(int(sys.argv[2]), float(sys.argv[3]))
