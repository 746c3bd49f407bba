"""The first tables: orders, charges, parcels and mails."""

from __future__ import annotations

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import orders.models


def row(**columns: models.Field) -> list[tuple[str, models.Field]]:
    """The columns of something that is done for an order."""
    return [
        (
            "id",
            models.BigAutoField(
                auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
            ),
        ),
        ("key", models.CharField(default=orders.models.new_key, max_length=255, unique=True)),
        (
            "order",
            models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="orders.order"),
        ),
        *columns.items(),
    ]


class Migration(migrations.Migration):
    """Creates the tables."""

    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            name="Order",
            fields=[
                ("number", models.PositiveIntegerField(primary_key=True, serialize=False)),
                ("total", models.PositiveIntegerField()),
                ("placed_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(name="Charge", fields=row(receipt=models.CharField(max_length=40))),
        migrations.CreateModel(name="Parcel", fields=row()),
        migrations.CreateModel(name="Mail", fields=row(text=models.TextField())),
    )
