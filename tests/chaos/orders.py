"""A stream of orders through ordinary Kombu, and of calls, while the broker breaks.

What has to be true afterwards: everything the broker or the ledger confirmed has one recorded
outcome, which is what a repetition is answered with, and nothing lies anywhere.
"""

from __future__ import annotations

import base64
import gc
import json
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from kombu import Connection
from kombu.exceptions import OperationalError

from resonate_amqp import Resonate
from resonate_amqp.errors import BrokerError, LedgerError
from tests.ext.kombu.processes import GROUP, ShopSystem
from tests.scenarios.journal import Run
from tests.scenarios.system import Process, wait_until

QUEUES = {"orders": "plain", "parcels": "shipped"}
"""By queue, the callback that consumes it."""
LASTS_S = 0.1
EVERY_S = 0.05
RESULT_S = 60.0


class Stream:
    """Publishes `count` orders in turn, to each of the queues, and makes as many calls.

    A publish is an order's when its confirm has come; until then it is made again, on a new
    connection. `confirm_s` is how long a confirm is waited for.
    """

    def __init__(self, shop: ShopSystem, count: int, *, confirm_s: float, heartbeat: int) -> None:
        self._shop = shop
        self.count = count
        self._confirm_s = confirm_s
        self._resonate = Resonate(shop.url, group="outside", heartbeat=heartbeat)
        self._threads = ThreadPoolExecutor(2)
        self._ended = threading.Event()
        self.confirmed: list[str] = []
        self.failures = 0
        self._calls: dict[str, Any] = {}
        self._under_way: list[Future[None]] = []

    def start(self) -> None:
        self._under_way = [self._threads.submit(self._publish), self._threads.submit(self._call)]

    def close(self) -> None:
        self._ended.set()
        self._threads.shutdown()
        self._resonate.stop()
        # A connection attempt that was cut off leaves its socket; here that is no error.
        gc.collect()

    def wait_for(self, count: int) -> None:
        """Wait until so many orders are confirmed."""
        wait_until(f"{count} are confirmed", lambda: self._alive(len(self.confirmed) >= count))

    def wait(self) -> None:
        """Wait until everything is confirmed, and every call has its result."""
        for future in self._under_way:
            future.result(RESULT_S)

    def repeat(self) -> None:
        """Everything once more; it is answered as it was, and then comes something new."""
        assert self._repeated_calls() == self._calls
        with self._connection() as connection:
            for order in [*self.confirmed, *(f"{queue}-last" for queue in QUEUES)]:
                self._send(connection, order)
        for queue in QUEUES:
            self._shop.outcome(f"{queue}-last", RESULT_S)

    def outcomes(self) -> dict[str, Any]:
        """By order or call, the recorded value; each is settled, and recorded once."""
        rows = self._shop.query(
            "SELECT coalesce(tags.value, id), state, value_data FROM promises LEFT JOIN tags "
            "ON tags.promise_id = id AND tags.name = 'message_id' WHERE id = origin"
        )
        assert {row[1] for row in rows} == {"resolved"}
        found = {row[0]: json.loads(base64.b64decode(row[2])) for row in rows}
        assert len(found) == len(rows)
        return found

    def expected(self) -> dict[str, Any]:
        """What there has to be of it."""
        of = {"orders": "done {}", "parcels": "charged {}"}
        ids = [f"{queue}-{number}" for number in range(self.count) for queue in QUEUES]
        orders = {order: of[order.partition("-")[0]].format(order) for order in ids}
        return orders | {f"call-{number}": 2 * number for number in range(self.count)}

    def effects(self) -> Counter[str]:
        """By function, how many effects there have to be at least."""
        return Counter(plain=self.count, charge=self.count, work=2 * self.count)

    def _alive(self, reached: bool) -> bool:
        for future in self._under_way:
            if future.done():
                future.result()
        return reached

    def _publish(self) -> None:
        connection = self._connection()
        orders = [f"{queue}-{number}" for number in range(self.count) for queue in QUEUES]
        for order in orders:
            while not self._ended.wait(EVERY_S):
                try:
                    self._send(connection, order)
                except OperationalError:
                    # A channel that saw a nack may see nothing else: another connection is made.
                    connection.collect()
                    connection = self._connection()
                else:
                    self.confirmed.append(order)
                    break
        connection.release()

    def _connection(self) -> Connection:
        # A quorum queue may lose what was published to it in haste, without confirms.
        return Connection(self._shop.url, transport_options={"confirm_publish": True})

    def _send(self, connection: Connection, order: str) -> None:
        connection.Producer().publish(
            {"order": order, "lasts": LASTS_S},
            routing_key=order.partition("-")[0],
            message_id=order,
            retry=True,
            retry_policy={"errback": self._retried, "max_retries": 3, "interval_start": 0},
            confirm_timeout=self._confirm_s,
        )

    def _retried(self, *_: object) -> None:
        self.failures += 1

    def _call(self) -> None:
        for number in range(self.count):
            if self._ended.wait(2 * EVERY_S):
                break
            self._calls[f"call-{number}"] = self._result(number)

    def _result(self, number: int) -> Any:
        """Call until it is known to be recorded, and wait for the result."""
        until = time.monotonic() + RESULT_S
        calls = self._resonate.options(target="service-c")
        while True:
            try:
                return calls.rpc(f"call-{number}", "work", number).result(RESULT_S)
            except (BrokerError, LedgerError):
                assert time.monotonic() < until, f"call-{number} is never recorded"

    def _repeated_calls(self) -> dict[str, Any]:
        return {f"call-{number}": self._result(number) for number in range(self.count)}


def consumers(shop: ShopSystem, heartbeat: int) -> list[Process]:
    """A consumer process for each of the queues, which must be there."""
    shop.serve(GROUP)
    module = "tests.ext.kombu.consumer"
    settings = {"threads": 8, "heartbeat": heartbeat}
    started = [
        shop.program(module, queue, callback, f"heartbeat={heartbeat}", **settings)
        for queue, callback in QUEUES.items()
    ]
    for queue in QUEUES:
        shop.wait_for_consumers_of(1, queue)
    return started


def reconcile(shop: ShopSystem, stream: Stream) -> dict[tuple[str, str], list[Run]]:
    """One recorded outcome of everything, given to whoever asks again, and nothing left over.

    Answers, by function and id, the effects that there were more than one of.
    """
    stream.wait()
    expected = stream.expected()
    settled = "SELECT count(*) FROM promises WHERE id = origin AND state != 'pending'"
    wait_until(
        "everything is settled",
        lambda: shop.query(settled)[0][0] >= len(expected),
        RESULT_S,
        poll_s=0.1,
    )
    assert stream.outcomes() == expected
    effects: dict[tuple[str, str], list[Run]] = {}
    for run in shop.journal.runs():
        effects.setdefault((run.function, run.promise_id), []).append(run)
    assert Counter(function for function, _ in effects) == stream.effects()
    before = shop.journal.counts()
    stream.repeat()
    last = Counter(plain=1, charge=1, work=1)
    assert Counter(shop.journal.counts()) == Counter(before) + last
    shop.wait_for_empty(*QUEUES)
    shop.end()
    again = {effect: runs for effect, runs in effects.items() if len(runs) > 1}
    sys.stdout.write(
        f"{len(stream.confirmed)} orders and {stream.count} calls, {stream.failures} failed "
        f"attempts to publish; {len(again)} of {len(effects)} effects ran again\n"
    )
    return again
