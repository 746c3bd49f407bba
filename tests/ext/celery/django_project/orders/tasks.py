"""The app's tasks, found by `autodiscover_tasks`."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from celery import current_app, shared_task

from resonate_amqp import Context
from resonate_amqp.ext.celery import DurableTask, durable, from_celery
from tests.ext.celery.django_project.orders.models import Order

resonate = from_celery(current_app)


@shared_task(base=DurableTask)
def charge(number: int) -> str:
    Order.objects.filter(pk=number).update(state="charged")
    return f"charged {Order.objects.get(pk=number).name}"


@shared_task
@durable()
def pack(number: int) -> str:
    return f"packed {Order.objects.get(pk=number).state} {number}"


def mark(_ctx: Context, number: int, state: str) -> None:
    Order.objects.filter(pk=number).update(state=state)


@shared_task
@durable(resonate)
def fulfil(ctx: Context, number: int) -> Generator[Any, Any, list[str]]:
    charged = yield ctx.rfc(charge, number)
    packed = yield ctx.rfc(pack, number)
    yield ctx.lfc(mark, number, "fulfilled")
    return [charged, packed]
