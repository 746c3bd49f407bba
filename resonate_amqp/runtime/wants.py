"""Wants: what a replay asks its owner for, in order."""

from __future__ import annotations

from dataclasses import dataclass

from resonate_amqp.core.requests import PromiseCreate, PromiseSettle
from resonate_amqp.ports import Executor
from resonate_amqp.runtime.registry import Registered
from resonate_amqp.wire.codec import Call


@dataclass(frozen=True, slots=True)
class Leaf:
    """A function to be run off the loop; `leaf_done` is to be told how it ended.

    An `async def` is a leaf until its first durable call; `turned` is to be told of that.
    """

    id: str
    function: Registered
    call: Call
    timeout_at: int
    root: bool
    executor: Executor | None = None
    """What runs it if it is plain; the process's own if there is none."""


@dataclass(frozen=True, slots=True)
class Abandon:
    """What a leaf comes to is of no use any more; an `async def` is canceled."""

    id: str


@dataclass(frozen=True, slots=True)
class Await:
    """A promise whose outcome must be heard of."""

    id: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The task's own outcome; nothing is wanted after it."""

    settle: PromiseSettle


@dataclass(frozen=True, slots=True)
class Halt:
    """The body does not do what its record says; nobody can go on with it."""

    reason: str


Want = PromiseCreate | PromiseSettle | Leaf | Abandon | Await | Finish | Halt
