"""The shop's web site, as far as it matters here: it publishes an order and forgets it.

    python -m examples.kombu_shop.place_order 7 "a book" 25

Nothing in this file knows that the order is fulfilled durably.
"""

from __future__ import annotations

import sys

from kombu import Connection

from examples.kombu_shop.wires import connect, publish


def place(connection: Connection, number: int, item: str, total: int) -> None:
    """Publish an order; when it returns, the broker has confirmed it."""
    publish(connection, "orders", {"id": number, "item": item, "total": total})


if __name__ == "__main__":
    place(connect(), int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
