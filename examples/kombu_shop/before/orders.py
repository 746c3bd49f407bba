"""Orders: takes each from the queue `orders`, has it paid and packed, and mails the customer."""

from __future__ import annotations

from typing import Any

from kombu import Queue
from kombu.mixins import ConsumerMixin

from examples.kombu_shop.wires import call, connect, publish

connection = connect()


class Orders(ConsumerMixin):
    """Consumes orders."""

    connection = connection

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:
        queue = Queue("orders")
        return [Consumer([queue], callbacks=[self.on_order], accept=["json"], prefetch_count=8)]

    def on_order(self, body: Any, message: Any) -> None:
        paid = call(connection, "payments", body)
        sent = call(connection, "warehouse", body)
        write(body, paid, sent)
        message.ack()


def write(order: Any, paid: Any, sent: Any) -> None:
    """Hand a letter to the mail service."""
    publish(connection, "mail", {"order": order["id"], **paid, **sent})


if __name__ == "__main__":
    Orders().run()
