"""Deliveries: what Kombu knows of where a message came from, and how one is given back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amqp.spec import Basic


def consumer_of(message: Any) -> Any:
    """Kombu's consumer that a message was delivered to; None where that is not known."""
    tag = (message.delivery_info or {}).get("consumer_tag")
    callback = getattr(message.channel, "callbacks", {}).get(tag)
    return getattr(callback, "__self__", None)


def queue_named(message: Any) -> str:
    """The name of the queue that a message came from; empty where that is not known."""
    tag = (message.delivery_info or {}).get("consumer_tag")
    tags: dict[str, str] = getattr(consumer_of(message), "_active_tags", {})
    return next((queue for queue, of in tags.items() if of == tag), "")


def queue_of_copy(message: Any) -> str:
    """The queue of a message of which every queue gets a copy that is to be executed; or empty.

    Such are the messages of a fanout exchange, and those of a queue that one connection has for
    itself: each process of a service gets its own copy there.
    """
    name = queue_named(message)
    queues = getattr(consumer_of(message), "queues", None) or []
    queue = next((one for one in queues if one.name == name), None)
    if queue is None:
        return ""
    came_by = (message.delivery_info or {}).get("exchange") or ""
    exchanges = [queue.exchange, *(binding.exchange for binding in queue.bindings or ())]
    fanout = any(one and one.name == came_by and one.type == "fanout" for one in exchanges)
    return name if came_by and (fanout or queue.exclusive) else ""


def was_redelivered(message: Any) -> bool:
    """Whether somebody had the message before; Kombu's own transports tell in the raw message."""
    raw = getattr(message, "_raw", None)
    told = raw.get("redelivered") if isinstance(raw, dict) else None
    return bool((message.delivery_info or {}).get("redelivered") or told)


def returned(headers: Mapping[str, Any]) -> int:
    """How often a message was given back, where its queue counts that, as quorum queues do."""
    counted = headers.get("x-delivery-count")
    return counted if isinstance(counted, int) else 0


def put_back(message: Any) -> None:
    """Give a message back to its queue, by a nack where the transport is AMQP.

    From RabbitMQ 4.3 on a nack does not count against a quorum queue's delivery limit, which a
    reject does. py-amqp has no method for it.
    """
    channel = message.channel
    if hasattr(channel, "send_method"):
        channel.send_method(Basic.Nack, "Lbb", (message.delivery_tag, False, True))
    else:
        channel.basic_reject(message.delivery_tag, requeue=True)
