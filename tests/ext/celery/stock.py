"""A shop of long standing: a Celery app that knows nothing of promises, but for its last line."""

from __future__ import annotations

import os
import time

from celery import Celery, Task

from resonate_amqp.ext.celery import install
from tests.scenarios.journal import own_journal

app = Celery("stock", broker=os.environ.get("SHOP_BROKER"), backend="rpc://")
app.conf.update(
    worker_pool_start_method=os.environ.get("SHOP_START", "fork"),
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    resonate_group="stock",
)


class OutOfStock(Exception):
    """Nothing is left."""


def began(task: Task) -> None:
    name = task.name.rpartition(".")[2]
    own_journal().began(name, task.request.id)
    own_journal().pass_gate(name)


@app.task(bind=True)
def pick(self: Task, item: str, *, count: int = 1) -> list[str]:
    began(self)
    return [item] * count


@app.task(bind=True, max_retries=3)
def fetch(self: Task, item: str) -> str:
    began(self)
    if self.request.retries < 2:
        raise self.retry(countdown=0.1)
    return f"{item} after {self.request.retries} retries"


@app.task(bind=True)
def fail(self: Task, item: str) -> None:
    began(self)
    raise OutOfStock(item)


@app.task(bind=True, time_limit=1)
def search(self: Task) -> None:
    began(self)
    time.sleep(60)


install(app)
