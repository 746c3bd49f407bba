"""Orders: takes each from the queue `orders`, has it paid and packed, and mails the customer."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from kombu import Queue
from kombu.mixins import ConsumerMixin

from examples.kombu_shop.wires import connect, publish
from resonate_amqp import Context, Resonate
from resonate_amqp.ext.kombu import durable

connection = connect()
resonate = Resonate.from_kombu(connection, group="orders")


class Orders(ConsumerMixin):
    """Consumes orders."""

    connection = connection

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:
        queue = Queue("orders")
        return [Consumer([queue], callbacks=[self.on_order], accept=["json"], prefetch_count=8)]

    @durable(resonate, id=lambda body, message: f"order-{body['id']}")
    def on_order(self, ctx: Context, body: Any, message: Any) -> Generator[Any, Any, None]:
        paid = yield ctx.rfc("charge", body).options(target="queue://payments")
        sent = yield ctx.rfc("pack", body).options(target="poll://any@warehouse")
        yield ctx.lfc(write, body, paid, sent)
        message.ack()


def write(ctx: Context, order: Any, paid: Any, sent: Any) -> None:
    """Hand a letter to the mail service."""
    publish(connection, "mail", {"order": order["id"], **paid, **sent})


if __name__ == "__main__":
    Orders().run()
