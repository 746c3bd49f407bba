"""A workflow between the two: the client's order calls the server for its price, durably."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from kombu import Connection, Queue

from resonate_amqp import Context, Resonate
from resonate_amqp.ext.kombu import durable_rpc_server

resonate = Resonate("env:RESONATE_AMQP_URL", group="shop")


@resonate.register
def order(ctx: Context, sku: str, count: int) -> Generator[Any, Any, dict[str, Any]]:
    """What a client of the queue `orders` asks for."""
    asked = {"sku": sku, "count": count}
    price = yield ctx.rfc("price", asked).options(target="queue://prices", timeout=60)
    return {"sku": sku, "count": count, "total": price["total"]}


def order_id(_body: Any, message: Any) -> str:
    """The clients of this queue draw an id for each order, and keep it when they ask again."""
    return f"orders.{message.properties['correlation_id']}"


def main() -> None:
    """Answer the clients of the queue `orders`."""
    with resonate, Connection(resonate.settings.url) as connection:
        Queue("orders")(connection).declare()
        durable_rpc_server(resonate, connection, "orders", order, id=order_id).run()


if __name__ == "__main__":
    main()
