"""A view's work: an order and its task, in a transaction."""

from __future__ import annotations

import json
import time

import django
from django.core.management import call_command
from django.db import transaction


def main() -> None:
    """Print how far the order got, and its promise's state."""
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    from tests.ext.celery.django_project.orders.models import Order
    from tests.ext.celery.django_project.orders.tasks import charge, fulfil, resonate

    with transaction.atomic():
        order = Order.objects.create(name="o-7")
        fulfil.delay_on_commit(order.pk)
        charge.apply_async_on_commit((order.pk,), task_id="charge-7")
    deadline = time.monotonic() + 30
    while order.state != "fulfilled" and time.monotonic() < deadline:
        time.sleep(0.05)
        order.refresh_from_db()
    print(json.dumps([order.state, resonate.promises.get("charge-7").state]))
    resonate.stop()


if __name__ == "__main__":
    main()
