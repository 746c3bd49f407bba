"""A customer's browser, as far as it matters here: it sends the form of an order.

    python examples/django_shop/place_order.py 9 25

Nothing in this file knows that the order is fulfilled durably.
"""

from __future__ import annotations

import os
import sys
from urllib.parse import urlencode
from urllib.request import Request, urlopen


def place(site: str, number: int, total: int) -> None:
    """Send an order; when it returns, the database has the order and the broker its task."""
    form = urlencode({"number": number, "total": total}).encode()
    with urlopen(Request(f"{site}/orders/", form), timeout=30) as answer:
        answer.read()


if __name__ == "__main__":
    place(os.environ.get("SHOP_URL", "http://127.0.0.1:8000"), int(sys.argv[1]), int(sys.argv[2]))
