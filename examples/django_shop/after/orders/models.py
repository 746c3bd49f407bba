"""Orders, and what was done for each. A row's `key` is what others know it by."""

from __future__ import annotations

from uuid import uuid4

from django.db import models
from django.utils import timezone


def new_key() -> str:
    """A key that nothing else has."""
    return uuid4().hex


class Order(models.Model):
    """What a customer wants, under the number of the cart that it was."""

    number = models.PositiveIntegerField(primary_key=True)
    total = models.PositiveIntegerField()
    placed_at = models.DateTimeField(default=timezone.now)


class Charge(models.Model):
    """What the payment provider was asked for, by `key`, and its receipt."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT)
    key = models.CharField(max_length=255, unique=True, default=new_key)
    receipt = models.CharField(max_length=40)


class Parcel(models.Model):
    """What the packers have to pack."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT)
    key = models.CharField(max_length=255, unique=True, default=new_key)


class Mail(models.Model):
    """What the mailer has to send."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT)
    key = models.CharField(max_length=255, unique=True, default=new_key)
    text = models.TextField()
