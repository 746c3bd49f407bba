"""Mail: sends the letters that come to the queue `mail`."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from kombu import Queue
from kombu.mixins import ConsumerMixin

from examples.kombu_shop import trade
from examples.kombu_shop.wires import connect

connection = connect()


class Mail(ConsumerMixin):
    """Consumes letters; nobody waits for them."""

    connection = connection

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:
        queue = Queue("mail")
        return [Consumer([queue], callbacks=[self.on_letter], accept=["json"], prefetch_count=8)]

    def on_letter(self, body: Any, message: Any) -> None:
        trade.send(uuid4().hex, body)
        message.ack()


if __name__ == "__main__":
    Mail().run()
