"""A broker that stands still for two seconds, in the midst of a shop's work."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kombu.pools
import pytest
from celery.result import AsyncResult

from resonate_amqp.dev.broker import PrivateBroker
from tests.chaos.orders import QUEUES, Stream, consumers, reconcile
from tests.ext.celery.system import Client, result
from tests.ext.celery.system import Shop as CeleryShop
from tests.ext.kombu.processes import ShopSystem
from tests.scenarios.system import wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.rabbitmq, pytest.mark.processes]

FROZEN_S = 2.0
ORDERS = 40
TASKS = 12


@pytest.fixture
def shop(node: PrivateBroker, tmp_path: Path) -> Iterator[ShopSystem]:
    url = node.new_vhost()
    made = ShopSystem(url, tmp_path)
    yield made
    made.kill_all()
    node.discard_vhost(url)
    sys.stdout.write(made.logs())


@pytest.fixture
def celery_shop(node: PrivateBroker, tmp_path: Path) -> Iterator[CeleryShop]:
    url = node.new_vhost()
    made = CeleryShop(url, tmp_path)
    yield made
    made.kill_all()
    kombu.pools.reset()
    node.discard_vhost(url)
    sys.stdout.write(made.logs())


@contextlib.contextmanager
def frozen(node: PrivateBroker) -> Iterator[None]:
    """The broker's process stands still, with every connection open."""
    pid = node.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("frozen_s", "heartbeat", "confirm_s"),
    [(FROZEN_S, 15, 30.0), (2 * FROZEN_S, 1, 0.5)],
    ids=["patient", "impatient"],
)
def test_a_broker_that_stands_still_loses_repeats_and_misconfirms_nothing(
    node: PrivateBroker, shop: ShopSystem, frozen_s: float, heartbeat: int, confirm_s: float
) -> None:
    """Patient clients keep their connections; impatient ones give them up and begin again."""
    for queue in QUEUES:
        shop.queue(queue, **{"x-queue-type": "quorum"})
    shop.ledger(heartbeat=heartbeat)
    shop.worker("c", heartbeat=heartbeat)
    shop.wait_for_ledger()
    started = consumers(shop, heartbeat)
    stream = Stream(shop, ORDERS, confirm_s=confirm_s, heartbeat=heartbeat)
    with contextlib.closing(stream):
        stream.start()
        stream.wait_for(ORDERS // 2)
        with frozen(node):
            confirmed = len(stream.confirmed)
            time.sleep(frozen_s)
            assert len(stream.confirmed) <= confirmed + 1
        again = reconcile(shop, stream)
    impatient = frozen_s > confirm_s
    assert (stream.failures > 0) == impatient
    # A consumer whose callback is under way all the time may not have noticed.
    lost = ["Connection to broker lost" in one.log.read_text("utf-8") for one in started]
    assert any(lost) == impatient
    assert again == {}


def test_durable_tasks_that_call_one_another_go_on_after_a_broker_stood_still(
    node: PrivateBroker, celery_shop: CeleryShop
) -> None:
    shop = celery_shop
    shop.ledger()
    shop.wait_for_ledger()
    shop.celery(quorum=True, slots=2)
    still = threading.Event()

    def stand_still() -> None:
        with frozen(node):
            still.set()
            time.sleep(FROZEN_S)

    with shop.client(quorum=True) as client, ThreadPoolExecutor(1) as freezer:
        sent = [client.send("fulfil", str(number)) for number in range(TASKS // 2)]
        wait_until("the first is charged", lambda: shop.journal.runs("charge"))
        # Celery has a connection for results in each thread that sends, and closes one of them.
        frozen_until = freezer.submit(stand_still)
        still.wait()
        sent += _send_more(client)
        frozen_until.result()
        for number, one in enumerate(sent):
            assert result(one) == f"{one.id} fulfilled: billed: charged {number}"
    charged = [run.promise_id for run in shop.journal.runs("charge")]
    assert len(charged) == len(set(charged)) == TASKS
    assert shop.query("SELECT state, count(*) FROM promises GROUP BY state") == [
        ("resolved", 3 * TASKS)
    ]
    shop.end()


def _send_more(client: Client) -> list[AsyncResult]:
    return [client.send("fulfil", str(number)) for number in range(TASKS // 2, TASKS)]
