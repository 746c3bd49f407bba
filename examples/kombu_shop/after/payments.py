"""Payments: answers requests to charge a card, which come to the queue `payments`."""

from __future__ import annotations

from typing import Any

from kombu import Queue
from kombu.mixins import ConsumerMixin

from examples.kombu_shop import trade
from examples.kombu_shop.wires import connect, reply

connection = connect()


class Payments(ConsumerMixin):
    """Consumes requests, and replies to each."""

    connection = connection

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:
        queue = Queue("payments")
        return [Consumer([queue], callbacks=[self.on_charge], accept=["json"], prefetch_count=1)]

    def on_charge(self, body: Any, message: Any) -> None:
        receipt = trade.charge(message.properties["correlation_id"], body)
        reply(connection, message, receipt)
        message.ack()


if __name__ == "__main__":
    Payments().run()
