"""Mail: sends the letters that come to the queue `mail`."""

from __future__ import annotations

from typing import Any

from kombu import Queue
from kombu.mixins import ConsumerMixin

from examples.kombu_shop import trade
from examples.kombu_shop.wires import connect
from resonate_amqp import Context, Resonate
from resonate_amqp.ext.kombu import durable

connection = connect()
resonate = Resonate.from_kombu(connection, group="mail")


class Mail(ConsumerMixin):
    """Consumes letters; nobody waits for them."""

    connection = connection

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:
        queue = Queue("mail")
        return [Consumer([queue], callbacks=[self.on_letter], accept=["json"], prefetch_count=8)]

    @durable(resonate, id=lambda body, message: f"mail-{body['order']}")
    def on_letter(self, ctx: Context, body: Any, message: Any) -> None:
        trade.send(ctx.id, body)
        message.ack()


if __name__ == "__main__":
    Mail().run()
