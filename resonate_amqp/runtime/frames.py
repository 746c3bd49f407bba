"""Frames: the bodies that run inside one task, and what each of them waits for. Sans-IO."""

from __future__ import annotations

import heapq
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from resonate_amqp.core.requests import PromiseSettle
from resonate_amqp.runtime.commands import Gather
from resonate_amqp.runtime.context import Context

Body = Generator[Any, Any, Any]
Answer = tuple[int, Any, BaseException | None]
"""The key of an await, and the value or the error it comes to."""


class Coroutines(Protocol):
    """An `async def` body and its asyncio branches, which run on a thread of their own."""

    @property
    def context(self) -> Context: ...

    def resume(self, number: int, answers: Sequence[Answer]) -> None:
        """Let those awaits go on; the next turn echoes the number."""
        ...

    def close(self) -> None:
        """Cancel every branch; nothing is heard of them any more."""
        ...


@dataclass(frozen=True, slots=True)
class Turn:
    """What an `async def` body did until each of its branches waited again.

    `echo` is the number of the last resume it has seen, `asked` what was awaited, under the key
    to answer by, `branches` the numbers that new branches took; `quiet` tells that no branch
    waits for anything but awaits that are not answered and other branches.
    """

    body: Coroutines
    echo: int
    asked: tuple[tuple[int, object], ...]
    branches: tuple[str, ...]
    quiet: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """What one await waits for: one promise, or for a gather several; errors stand for
    themselves."""

    places: tuple[str | Exception, ...]
    gather: Gather | None = None

    @property
    def ids(self) -> list[str]:
        return [place for place in self.places if isinstance(place, str)]


@dataclass(slots=True, kw_only=True)
class Frame:
    """One body inside the task: the task's own, or that of a local workflow.

    `verdict` is its outcome once it has ended, `final` that of a body whose compensations run.
    """

    id: str
    context: Context
    timeout_at: int
    attached: dict[str, None] = field(default_factory=dict)
    verdict: PromiseSettle | None = None
    final: PromiseSettle | None = None


@dataclass(slots=True, kw_only=True)
class GeneratorFrame(Frame):
    """A generator: it waits for one thing at a time."""

    body: Body
    waiting: Wait | None = None


@dataclass(slots=True, kw_only=True)
class AsyncFrame(Frame):
    """An `async def` body: each of its branches may wait for something.

    What is settled is handed over one by one, each when the body is quiet after the one before,
    in the order in which the ledger settled it: so a body that goes by which of its branches was
    first goes the same way on replay.
    """

    body: Coroutines
    answers: list[Answer] = field(default_factory=list)
    waits: dict[int, Wait] = field(default_factory=dict)
    keys: dict[str, list[int]] = field(default_factory=dict)
    ready: list[tuple[int, list[str], int]] = field(default_factory=list)
    sent: int = 0
    heard: int = 0
    quiet: bool = False

    @property
    def running(self) -> bool:
        """Whether a turn is still to come."""
        return self.heard != self.sent

    @property
    def idle(self) -> bool:
        """Whether nothing happens here until a promise is settled."""
        return self.quiet and not (self.running or self.answers or self.ready)

    def wait(self, key: int, wait: Wait, missing: list[str]) -> None:
        """Remember what an await waits for."""
        self.waits[key] = wait
        for promise_id in missing:
            self.keys.setdefault(promise_id, []).append(key)

    def awoken(self, promise_id: str) -> list[tuple[int, Wait]]:
        """The awaits that this promise is a part of."""
        return [
            (key, self.waits[key]) for key in self.keys.pop(promise_id, ()) if key in self.waits
        ]

    def make_ready(self, settled_at: int, key: int) -> None:
        heapq.heappush(self.ready, (settled_at, self.waits[key].ids, key))

    def next_ready(self) -> tuple[int, Wait]:
        """The await to be answered next."""
        key = heapq.heappop(self.ready)[2]
        return key, self.waits.pop(key)
