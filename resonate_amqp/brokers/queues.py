"""Queues of the in-process broker: what waits in one, and who takes it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from resonate_amqp.ports import Delivery
from resonate_amqp.wire.properties import PLAIN, Properties
from resonate_amqp.wire.topology import Queue


class Connection(Protocol):
    """Who consumes a queue, or owns it."""

    def push(self, event: Delivery) -> None:
        """A message is delivered."""
        ...

    def lose_consumer(self, queue: str, reason: str) -> None:
        """The queue is gone."""
        ...


@dataclass(frozen=True, slots=True)
class Message:
    """A message, and how often it came back."""

    body: bytes
    reply_to: str
    properties: Properties = PLAIN
    redeliveries: int = 0


@dataclass(slots=True)
class Consumer:
    """One consumer of a queue; a prefetch of 0 is no limit."""

    connection: Connection
    prefetch: int
    auto_ack: bool
    unacked: int = 0


@dataclass(slots=True)
class Waiting:
    """One queue: what it was declared as, its messages and its consumers."""

    spec: Queue
    owner: Connection | None
    waiting: deque[Message] = field(default_factory=deque)
    consumers: list[Consumer] = field(default_factory=list)

    @property
    def single_active(self) -> bool:
        return dict(self.spec.arguments).get("x-single-active-consumer", False) is True


@dataclass(slots=True, eq=False)
class Handle:
    """A delivery that is not acknowledged."""

    queue: str
    consumer: Consumer
    message: Message
