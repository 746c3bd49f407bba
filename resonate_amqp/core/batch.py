"""A batch: what one transaction of a ledger is to record, what it answered, what it left open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from resonate_amqp.core.model import SHARDS, Promise
from resonate_amqp.core.requests import Group, Mirrored, Response, TaskHalt
from resonate_amqp.core.timers import Timer


@dataclass(frozen=True, slots=True)
class Execute:
    """A task to be offered to its target, with the outbox row's serial."""

    serial: int
    target: str
    promise: Promise
    version: int
    repeat: bool = False
    """Whether an execute of this entry into `pending` may have been published before."""


@dataclass(frozen=True, slots=True)
class Unblock:
    """A settled promise to be sent to a listener's address."""

    address: str
    promise: Promise


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction of a ledger is to record.

    `confirmed` are outbox serials whose execute the broker has; `notified` are pairs of promise
    id and address whose unblock was published.
    """

    groups: Sequence[Group] = ()
    timers: Sequence[Timer] = ()
    confirmed: Sequence[int] = ()
    notified: Sequence[tuple[str, str]] = ()
    mirrored: Sequence[Mirrored] = ()
    halts: Sequence[TaskHalt] = ()
    heard_since: int = 0

    def pieces(self) -> Iterator[Batch]:
        """Batches of one thing each, requests left out: to find out which cannot be applied."""
        since = self.heard_since
        yield Batch(confirmed=self.confirmed, heard_since=since)
        yield from (Batch(timers=(one,), heard_since=since) for one in self.timers)
        yield from (Batch(notified=(one,), heard_since=since) for one in self.notified)
        yield from (Batch(mirrored=(one,), heard_since=since) for one in self.mirrored)
        yield from (Batch(halts=(one,), heard_since=since) for one in self.halts)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a committed transaction answered, and what is to be sent because of it.

    `void` are the ids of tasks whose outbox rows it deleted; `taken` maps a target to when the
    youngest execute taken from its queue had been offered (epoch ms); `mirrors` are new mirrors,
    and those that were canceled.
    """

    now: int
    answers: tuple[tuple[Response, ...], ...]
    executes: tuple[Execute, ...]
    unblocks: tuple[Unblock, ...]
    timers: tuple[Timer, ...]
    void: frozenset[str] = frozenset()
    taken: Mapping[str, int] = field(default_factory=dict)
    mirrors: tuple[Promise, ...] = ()


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a promoted ledger finds that may not have been published."""

    executes: tuple[Execute, ...]
    unblocks: tuple[Unblock, ...]
    mirrors: tuple[Promise, ...] = ()
    owners: tuple[int, ...] = (0,) * SHARDS
    """Which ledger queue keeps each shard."""

    now: int = 0
    """The ledger's time, which may be ahead of this host's clock."""
