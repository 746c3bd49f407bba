"""The shop's web site, as far as it matters here: it sends a task and forgets it.

    python examples/celery_shop/place_order.py 7 25

Nothing in this file knows that the order is fulfilled durably.
"""

from __future__ import annotations

import os
import sys

from celery import Celery


def place(site: Celery, number: int, total: int) -> None:
    """Send the task of an order; when it returns, the broker has confirmed it."""
    site.send_task("shop.fulfil", (number, total), task_id=f"order-{number}", queue="orders")


def connect(url: str) -> Celery:
    site = Celery("site", broker=url, backend="disabled")
    site.conf.broker_transport_options = {"confirm_publish": True}
    return site


if __name__ == "__main__":
    place(connect(os.environ["BROKER_URL"]), int(sys.argv[1]), int(sys.argv[2]))
