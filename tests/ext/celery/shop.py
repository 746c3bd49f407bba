"""The shop of these tests: one Celery app with durable tasks, as a worker process imports it."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Generator
from decimal import Decimal
from typing import Any

from celery import Celery, Task
from celery.exceptions import Reject, SoftTimeLimitExceeded

from resonate_amqp import Constant, Context
from resonate_amqp.ext.celery import DurableTask, durable, from_celery
from tests.scenarios.journal import FOLDER, own_journal

RESULTS = "SHOP_RESULTS"
"""The environment variable that names the result backend; disabled without it."""

app = Celery("shop", broker=os.environ.get("SHOP_BROKER"), backend=os.environ.get(RESULTS))
app.conf.update(
    resonate_group="shop",
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    task_default_queue_type=os.environ.get("SHOP_QUEUES", "classic"),
)
resonate = from_celery(app)


class Declined(Exception):
    """The bank says no."""


def began(task: Task) -> None:
    """Write down that a task's function has begun, and wait while its gate is closed."""
    if FOLDER in os.environ:
        name = task.name.rpartition(".")[2]
        own_journal().began(name, task.request.id)
        own_journal().pass_gate(name)


def here(task: Task) -> str:
    """The queue a task came by, so that a worker of one queue serves the whole chain."""
    return f"celery://{task.request.delivery_info['routing_key']}"


def slowly(func: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator of the shop's own: it waits between the outcome and what Celery does with it."""

    @functools.wraps(func)
    def run(self: Task, *args: Any) -> Any:
        outcome = func(self, *args)
        own_journal().pass_gate("sure-recorded")
        return outcome

    return run


@app.task(bind=True)
@slowly
@durable(resonate)
def sure(self: Task, order: str) -> str:
    began(self)
    return f"sure of {order}"


@app.task(bind=True)
@durable(resonate)
def charge(self: Task, order: str) -> str:
    began(self)
    return f"charged {order}"


@app.task(bind=True)
@durable(resonate)
def decline(self: Task, order: str) -> str:
    began(self)
    raise Declined(order, 402)


@app.task(bind=True)
@durable(resonate)
def bill(self: Task, ctx: Context, order: str) -> Generator[Any, Any, str]:
    began(self)
    charged = yield ctx.rfc(charge.name, order).options(target=here(self))
    return f"billed: {charged}"


@app.task(bind=True)
@durable(resonate)
def fulfil(self: Task, ctx: Context, order: str) -> Generator[Any, Any, str]:
    began(self)
    billed = yield ctx.rfc(bill.name, order).options(target=here(self))
    return f"{self.request.id} fulfilled: {billed}"


@app.task(bind=True)
@durable(resonate)
def careful(self: Task, ctx: Context, order: str) -> Generator[Any, Any, str]:
    charged = yield ctx.rfc(charge.name, order).options(target=here(self))
    own_journal().began("bill-end", ctx.id)
    own_journal().pass_gate("bill-end")
    return f"{charged}, carefully"


@app.task(bind=True, max_retries=3)
@durable(resonate)
def flaky(self: Task, order: str, failures: int) -> str:
    began(self)
    if self.request.retries < failures:
        raise self.retry(countdown=0.1, exc=Declined(order))
    return f"{order} after {self.request.retries} retries"


@app.task(bind=True, autoretry_for=(KeyError,), max_retries=2, default_retry_delay=0.1)
@durable(resonate)
def restless(self: Task, order: str) -> str:
    began(self)
    raise KeyError(order)


@app.task(bind=True)
@durable(resonate)
def picky(self: Task) -> str:
    began(self)
    if not self.request.delivery_info["redelivered"]:
        raise Reject("not yet", requeue=True)
    return "at last"


@app.task(bind=True)
@durable(resonate)
def refused(self: Task, order: str) -> None:
    began(self)
    raise Reject(order, requeue=False)


@app.task(bind=True)
@durable(resonate)
def leaving(self: Task, status: int) -> None:
    began(self)
    sys.exit(status)


@app.task(bind=True)
@durable(resonate)
def replaced(self: Task, by: str) -> None:
    began(self)
    other = {"plain": total.s([1, 2]), "durable": add.s(1, 2)}[by]
    raise self.replace(other.set(queue=self.request.delivery_info["routing_key"]))


@app.task
@durable(resonate)
def double(price: Decimal) -> Decimal:
    return 2 * price


@app.task
@durable(resonate)
def priced(ctx: Context, price: Decimal) -> Generator[Any, Any, list[str]]:
    first = yield ctx.rfi(double, price)
    doubled = yield ctx.gather(first, ctx.rfc(double, price=price + 1))
    return [f"{type(one).__name__} {one}" for one in doubled]


@app.task(bind=True)
@durable(resonate, id=lambda order: f"order-{order}")
def once(self: Task, order: str) -> str:
    began(self)
    return f"{order} by {self.request.id}"


@app.task(bind=True)
@durable(resonate, id=lambda order: f"order-{order}")
def refund(self: Task, order: str) -> str:
    began(self)
    return f"{order} refunded"


@app.task(bind=True, time_limit=1)
@durable(resonate)
def slow(self: Task) -> None:
    began(self)
    time.sleep(60)


@app.task(bind=True, soft_time_limit=1)
@durable(resonate)
def patient(self: Task) -> str:
    began(self)
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        return "stopped"
    return "never"


def nap(_ctx: Context) -> None:
    time.sleep(1.5)


@app.task(soft_time_limit=1)
@durable(resonate)
def hurried(ctx: Context) -> Generator[Any, Any, str]:
    try:
        yield ctx.lfc(nap)
    except SoftTimeLimitExceeded:
        return "stopped while it waited"
    return "never"


@app.task(bind=True, soft_time_limit=1)
@durable(resonate)
def insistent(self: Task, ctx: Context) -> Generator[Any, Any, str]:
    try:
        yield ctx.lfc(nap).options(retry_policy=Constant(delay=0.1, max_retries=9))
    except SoftTimeLimitExceeded as error:
        yield ctx.rfc(charge.name, "late").options(target=here(self))
        return f"{error!r}"
    return "never"


@app.task(bind=True, base=DurableTask)
def add(self: Task, one: int, other: int) -> int:
    began(self)
    return one + other


@app.task(bind=True)
@durable(resonate)
def busy(self: Task) -> None:
    began(self)


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)
