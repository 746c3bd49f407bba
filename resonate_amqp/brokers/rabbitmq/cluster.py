"""Cluster: which RabbitMQ a url leads to, by the name that every node of a cluster tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pika
from pika.exceptions import AMQPError

from resonate_amqp.brokers.rabbitmq.urls import parameters, shown
from resonate_amqp.errors import BrokerError

NAME = "cluster_name"


def cluster_name(urls: str) -> str:
    """The name of the cluster behind the first url that answers; empty when it tells none.

    Blocks, for some 10 s per url at most. Raises BrokerError when no url answers.
    """
    failed: list[str] = []
    for one in parameters(urls, heartbeat_s=15, name="resonate_amqp compares brokers"):
        try:
            connection = pika.BlockingConnection(one)
        except (AMQPError, OSError) as error:
            failed.append(f"{one.host}:{one.port} ({error or 'no connection'})")
            continue
        try:
            # A blocking connection does not tell what the broker told it.
            return name_in(connection._impl.server_properties)
        finally:
            connection.close()
    raise BrokerError(f"{shown(urls)} does not answer: {', '.join(failed)}")


def name_in(server_properties: Mapping[str, Any] | None) -> str:
    """The cluster's name in what RabbitMQ tells of itself when a connection opens."""
    name = (server_properties or {}).get(NAME) or ""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
