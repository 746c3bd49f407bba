"""RabbitMQ through pika: two connections on one I/O loop, owned by the thread that polls."""

from __future__ import annotations

from resonate_amqp.brokers.rabbitmq.broker import RabbitBroker

__all__ = ["RabbitBroker"]
