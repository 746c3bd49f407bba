"""What becomes of an order: it is paid and packed, and its customer gets a mail."""

from __future__ import annotations

import time

from celery import shared_task

from orders.models import Charge, Mail, Order, Parcel, new_key
from orders.payments import pay

# It is done and nobody knows yet: the moment at which a worker best be killed.
TAKES_S = 0.03


@shared_task
def fulfil(number: int) -> None:
    receipt = charge(number)
    parcel = pack(number)
    send_mail(number, receipt, parcel)


def charge(number: int) -> str:
    order = Order.objects.get(number=number)
    key = new_key()
    receipt = pay(key, number, order.total)
    Charge.objects.create(order=order, key=key, receipt=receipt)
    return receipt


def pack(number: int) -> str:
    parcel = Parcel.objects.create(order_id=number)
    time.sleep(TAKES_S)
    return f"P{parcel.pk}"


def send_mail(number: int, receipt: str, parcel: str) -> None:
    text = f"Paid with receipt {receipt}, sent as parcel {parcel}."
    Mail.objects.create(order_id=number, text=text)
    time.sleep(TAKES_S)
