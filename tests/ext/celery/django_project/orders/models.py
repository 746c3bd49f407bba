"""Orders."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """What a customer wants, and how far it is."""

    name = models.CharField(max_length=50)
    state = models.CharField(max_length=50, default="new")

    class Meta:
        app_label = "orders"
