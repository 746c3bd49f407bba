"""What becomes of an order: it is paid and packed, and its customer gets a mail."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from celery import shared_task

from orders.models import Charge, Mail, Order, Parcel
from orders.payments import pay
from resonate_amqp import Context
from resonate_amqp.ext.celery import durable

# It is done and nobody knows yet: the moment at which a worker best be killed.
TAKES_S = 0.03


@shared_task
@durable(id=lambda number: f"order-{number}")
def fulfil(ctx: Context, number: int) -> Generator[Any, Any, None]:
    receipt = yield ctx.lfc(charge, number)
    parcel = yield ctx.lfc(pack, number)
    yield ctx.lfc(send_mail, number, receipt, parcel)


def charge(ctx: Context, number: int) -> str:
    order = Order.objects.get(number=number)
    receipt = pay(ctx.id, number, order.total)
    Charge.objects.get_or_create(order=order, key=ctx.id, receipt=receipt)
    return receipt


def pack(ctx: Context, number: int) -> str:
    parcel, _ = Parcel.objects.get_or_create(order_id=number, key=ctx.id)
    time.sleep(TAKES_S)
    return f"P{parcel.pk}"


def send_mail(ctx: Context, number: int, receipt: str, parcel: str) -> None:
    text = f"Paid with receipt {receipt}, sent as parcel {parcel}."
    Mail.objects.get_or_create(order_id=number, key=ctx.id, text=text)
    time.sleep(TAKES_S)
