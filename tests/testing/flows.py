"""What the tests of the kit run: an order that is paid, waits three days, and is shipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from datetime import timedelta
from typing import Any

from resonate_amqp import Context, Resonate
from resonate_amqp.resonate.functions import Function

DAYS = timedelta(days=3)
WEEK = timedelta(days=7)


class Shop:
    """Functions of two groups, and how often each body ran, by promise."""

    def __init__(self, orders: Resonate, carriers: Resonate | None = None) -> None:
        self.ran: Counter[str] = Counter()
        self.orders = orders
        carriers = carriers or orders
        ran = self.ran

        def charge(ctx: Context, item: str) -> str:
            ran[ctx.id] += 1
            return f"paid {item}"

        @carriers.register
        def ship(ctx: Context, item: str) -> str:
            ran[ctx.id] += 1
            return f"shipped {item}"

        @orders.register
        def order(ctx: Context, item: str) -> Generator[Any, Any, list[str]]:
            paid: str = yield ctx.lfc(charge, item)
            yield ctx.sleep(DAYS)
            sent: str = yield ctx.rfc(ship, item).options(target=carriers.settings.group)
            return [paid, sent]

        self.order: Function[Any, Any] = order
        self.call = orders.options(timeout=WEEK).rpc

    RESULT = ("paid book", "shipped book")
