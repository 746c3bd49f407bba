"""The objects of the broker: what each queue is declared as when it is not there yet.

Our arguments are few, because everything else belongs in the operator's policies: queue type,
single active consumer, expiry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from resonate_amqp.core.model import SHARDS
from resonate_amqp.wire import address

ALL_SHARDS = range(SHARDS)
UNI_EXPIRES_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue as it is to be declared when it is missing; one that exists is used as it is."""

    name: str
    durable: bool = True
    exclusive: bool = False
    arguments: tuple[tuple[str, Any], ...] = ()
    bindings: tuple[tuple[str, str], ...] = ()
    """Pairs of exchange and routing key."""
    unbound: tuple[tuple[str, str], ...] = ()
    """Bindings of an earlier time, which have to go."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable direct exchange."""

    name: str


def ledger_queue(number: int, shards: Sequence[int] = ALL_SHARDS) -> Queue:
    """The ledger's queue: one active consumer at a time, so that rivals take turns.

    It is bound for the shards it keeps, and for no other.
    """
    bindings = tuple((address.EXCHANGE, f"{shard:02x}") for shard in shards)
    others = tuple(
        (address.EXCHANGE, f"{shard:02x}") for shard in ALL_SHARDS if shard not in shards
    )
    return Queue(
        address.ledger_queue(number),
        arguments=(("x-queue-type", "classic"), ("x-single-active-consumer", True)),
        bindings=bindings,
        unbound=others,
    )


def ledger_objects(number: int, shards: Sequence[int] = ALL_SHARDS) -> tuple[Exchange | Queue, ...]:
    """Everything a ledger needs, in the order in which it can be declared."""
    dead = Queue(
        address.DEAD_QUEUE,
        arguments=(("x-queue-type", "classic"),),
        bindings=((address.EXCHANGE, address.DEAD),),
    )
    return (Exchange(address.EXCHANGE), dead, ledger_queue(number, shards))


def target_queue(target: str, queue_type: str) -> Queue:
    """The queue behind a canonical target, created by whoever comes first."""
    name = address.queue_of(target)
    if name.startswith(address.UNI_PREFIX):
        return Queue(name, arguments=(("x-queue-type", "classic"), ("x-expires", UNI_EXPIRES_MS)))
    return Queue(name, arguments=(("x-queue-type", queue_type),))


def reply_queue(group: str, pid: str, epoch: str) -> Queue:
    """A process's reply queue: it lives on the consuming connection's node and dies with it."""
    return Queue(address.reply_queue(group, pid, epoch), durable=False, exclusive=True)
