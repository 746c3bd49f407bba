"""Warehouse: answers requests to pack an order, which come to the queue `warehouse`."""

from __future__ import annotations

from typing import Any

from kombu import Queue
from kombu.mixins import ConsumerMixin

from examples.kombu_shop import trade
from examples.kombu_shop.wires import connect, reply

connection = connect()


class Warehouse(ConsumerMixin):
    """Consumes requests, and replies to each."""

    connection = connection

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:
        queue = Queue("warehouse")
        return [Consumer([queue], callbacks=[self.on_pack], accept=["json"], prefetch_count=1)]

    def on_pack(self, body: Any, message: Any) -> None:
        parcel = trade.pack(message.properties["correlation_id"], body)
        reply(connection, message, parcel)
        message.ack()


if __name__ == "__main__":
    Warehouse().run()
