"""A Celery app as any shop has it: it knows nothing of durable promises."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery import Celery, Task

app = Celery("shop", broker=os.environ["RESONATE_AMQP_URL"])
app.conf.update(
    result_backend="rpc://",
    task_default_queue="payments",
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    task_track_started=True,
)


def journal(line: str) -> None:
    """Note that something was done, for the test to count."""
    with (Path(os.environ["SCENARIO_FOLDER"]) / "stock.txt").open("a", encoding="utf-8") as lines:
        lines.write(f"{line}\n")


@app.task(name="shop.tasks.charge")
def charge(order: dict[str, Any], *, currency: str = "EUR") -> dict[str, Any]:
    journal(f"charge {order['id']}")
    return {"order": order["id"], "paid": order["price"], "currency": currency}


@app.task(name="shop.tasks.refuse")
def refuse(card: str) -> None:
    raise ValueError(f"card {card} was refused")


class CardExpired(Exception):
    """An error of the shop's own."""


@app.task(name="shop.tasks.expire")
def expire(card: str) -> None:
    raise CardExpired(card, 2026)


@app.task(name="shop.tasks.flaky", bind=True, max_retries=5)
def flaky(self: Task, order: int) -> int:
    journal(f"flaky {self.request.retries}")
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return order + int(self.request.retries)


@app.task(name="shop.tasks.slow")
def slow(seconds: float) -> str:
    journal("slow")
    time.sleep(seconds)
    return "slept"
