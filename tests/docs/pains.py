"""One Celery app with each task twice: as stock Celery has it, and with `@durable`.

The page `docs/explanation/what-it-solves.md` compares the two. Both run in the same worker, with
the same broker and the same result backend. Every step is written into the journal with the order
it is done for, and stays at its gate while the test keeps that closed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator
from typing import Any

from celery import Celery, Task
from celery.result import allow_join_result

from resonate_amqp import Constant, Context
from resonate_amqp.ext.celery import durable, from_celery
from tests.scenarios.journal import own_journal

app = Celery(
    "pains",
    broker=os.environ.get("RESONATE_AMQP_URL"),
    backend=os.environ.get("SHOP_RESULTS"),
)
app.conf.update(
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
    resonate_group="pains",
)
resonate = from_celery(app)


class Unreachable(Exception):
    """The carrier does not answer."""


def do(step: str, order: str) -> str:
    """One step with an effect."""
    own_journal().began(step, order)
    own_journal().pass_gate(step)
    return f"{step} of {order}"


def step(_ctx: Context, name: str, order: str) -> str:
    """The same, as a step that is recorded."""
    return do(name, order)


# One step: lost with its worker, asked for twice, submitted before the commit, its result gone.


@app.task
def charge(order: str) -> str:
    return do("charge", order)


@app.task
@durable(resonate)
def charge_durable(order: str) -> str:
    return do("charge", order)


@app.task
def refund(order: str) -> str:
    return do("refund", order)


@app.task
@durable(resonate, id=lambda order: f"refund-{order}")
def refund_durable(order: str) -> str:
    return do("refund", order)


# Acknowledged late, as whoever wants no task to be lost configures it.


@app.task(acks_late=True, reject_on_worker_lost=True)
def export(order: str) -> str:
    return do("export", order)


@app.task
@durable(resonate)
def export_durable(order: str) -> str:
    return do("export", order)


@app.task(acks_late=True, reject_on_worker_lost=True)
def fulfil(order: str) -> list[str]:
    return [do("reserve", order), do("pay", order), do("pack", order)]


@app.task
@durable(resonate)
def fulfil_durable(ctx: Context, order: str) -> Generator[Any, Any, list[str]]:
    reserved = yield ctx.lfc(step, "reserve", order)
    paid = yield ctx.lfc(step, "pay", order)
    packed = yield ctx.lfc(step, "pack", order)
    return [reserved, paid, packed]


@app.task(acks_late=True, reject_on_worker_lost=True)
def explode(order: str) -> None:
    do("explode", order)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
@durable(resonate)
def explode_durable(order: str) -> None:
    do("explode", order)
    os.kill(os.getpid(), signal.SIGKILL)


# A carrier that does not answer the first time.


def ship(order: str) -> str:
    do("ship", order)
    if sum(run.promise_id == order for run in own_journal().runs("ship")) == 1:
        raise Unreachable(order)
    return f"ship of {order}"


def ship_step(_ctx: Context, order: str) -> str:
    return ship(order)


@app.task(autoretry_for=(Unreachable,), default_retry_delay=0.1)
def deliver(order: str) -> list[str]:
    return [do("label", order), ship(order)]


@app.task
@durable(resonate)
def deliver_durable(ctx: Context, order: str) -> Generator[Any, Any, list[str]]:
    again = Constant(delay=0.1, max_retries=3)
    labelled = yield ctx.lfc(step, "label", order)
    shipped = yield ctx.lfc(ship_step, order).options(retry_policy=again)
    return [labelled, shipped]


# Tasks that need other tasks.


@app.task
def measure(order: str, number: int) -> int:
    do("measure", order)
    return number


@app.task
@durable(resonate)
def measure_durable(order: str, number: int) -> int:
    do("measure", order)
    return number


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task
@durable(resonate)
def total_durable(ctx: Context, order: str, count: int) -> Generator[Any, Any, int]:
    numbers = yield ctx.gather(*[ctx.rfc(measure_durable, order, one) for one in range(count)])
    return sum(numbers)


@app.task
def price(order: str) -> str:
    return do("price", order)


@app.task
def invoice(order: str) -> str:
    do("invoice", order)
    with allow_join_result():
        found: str = price.delay(order).get(disable_sync_subtasks=False)
    return f"invoice over {found}"


@app.task
@durable(resonate)
def price_durable(order: str) -> str:
    return do("price", order)


@app.task
@durable(resonate)
def invoice_durable(ctx: Context, order: str) -> Generator[Any, Any, str]:
    yield ctx.lfc(step, "invoice", order)
    found = yield ctx.rfc(price_durable, order)
    return f"invoice over {found}"


# Tasks that wait for a time or for a person.


@app.task
def remind(order: str) -> str:
    return do("remind", order)


@app.task
@durable(resonate)
def remind_durable(ctx: Context, order: str, seconds: float) -> Generator[Any, Any, str]:
    yield ctx.sleep(seconds)
    reminded: str = yield ctx.lfc(step, "remind", order)
    return reminded


@app.task
def approve(order: str) -> str:
    do("approve", order)
    while own_journal().closed("answer"):
        time.sleep(0.05)
    return f"approved {order}"


@app.task
@durable(resonate)
def approve_durable(ctx: Context, order: str) -> Generator[Any, Any, str]:
    yield ctx.lfc(step, "approve", order)
    answer = yield ctx.promise(id=f"answer-{order}")
    yield answer
    return f"approved {order}"


# What the clock calls.


@app.task(bind=True)
def tidy(self: Task) -> None:
    own_journal().began("tidy", self.request.id)


@app.task(bind=True)
@durable(resonate)
def tidy_durable(self: Task) -> None:
    own_journal().began("tidy-durable", self.request.id)


app.conf.beat_schedule = {"tidy": {"task": tidy.name, "schedule": 1.0}}
