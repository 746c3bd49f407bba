"""Frames: the bodies that run inside one task, and what each of them waits for. Sans-IO."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Generator, Sequence
from contextvars import Context as Variables
from dataclasses import dataclass, field
from typing import Any, Protocol

from resonate_amqp.core.requests import PromiseSettle
from resonate_amqp.runtime.commands import Gather, Race
from resonate_amqp.runtime.context import Context

log = logging.getLogger(__name__)

Body = Generator[Any, Any, Any]
Answer = tuple[int, Any, BaseException | None]
"""The key of an await, and the value or the error it comes to."""


class Dismissed(BaseException):
    """Answers an await of a branch that does nothing but wait, for nobody: the branch ends."""


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


GIVEN_UP = object()


@dataclass(frozen=True, slots=True)
class Turn:
    """What an `async def` body did until each of its branches waited again.

    `echo` is the number of the last resume it has seen, `asked` what was awaited, under the key
    to answer by, and GIVEN_UP for an await that was cut off before it was answered; `branches` are
    the numbers that new branches took. `quiet` tells that no branch waits for anything but awaits
    that are not answered and other branches; `returned` that the body has returned and that no
    code of its own is left to run.
    """

    body: Coroutines
    echo: int
    asked: tuple[tuple[int, object], ...]
    branches: tuple[str, ...]
    quiet: bool
    returned: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """What one await waits for: one promise, or several; errors stand for themselves.

    `of` is what several were given to, `limits` the ids of the timers that may cut it short.
    """

    places: tuple[str | Exception, ...]
    of: Gather | Race | None = None
    limits: tuple[str, ...] = ()

    def __contains__(self, promise_id: object) -> bool:
        return promise_id in self.places or promise_id in self.limits

    @property
    def ids(self) -> list[str]:
        return [place for place in self.places if isinstance(place, str)]


@dataclass(slots=True, kw_only=True)
class Frame:
    """One body inside the task: the task's own, or that of a local workflow.

    `verdict` is its outcome once it has ended, `final` that of a body whose compensations run.
    `reached` is when the last result that it was given was settled (epoch ms): by the record
    alone, the earliest instant at which it can be where it is.
    """

    id: str
    context: Context
    timeout_at: int
    reached: int
    attached: dict[str, None] = field(default_factory=dict)
    verdict: PromiseSettle | None = None
    final: PromiseSettle | None = None


@dataclass(slots=True, kw_only=True)
class GeneratorFrame(Frame):
    """A generator: it waits for one thing at a time."""

    body: Body
    variables: Variables = field(default_factory=Variables)
    """The context variables of this body alone."""
    waiting: Wait | None = None

    def step(self, value: Any, error: BaseException | None) -> Any:
        """Run the body up to its next command; raises StopIteration when it returns."""
        if error is None:
            return self.variables.run(self.body.send, value)
        return self.variables.run(self.body.throw, error)


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
    given_up: set[str] = field(default_factory=set)
    """The promises that the body awaits no more: what cut the await off is not yet all recorded,
    or is being replayed."""
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

    def awoken(self, promise_id: str) -> list[int]:
        """The keys of the awaits that this promise is a part of."""
        return [key for key in self.keys.pop(promise_id, ()) if key in self.waits]

    def dismiss(self) -> list[int]:
        """Answer none of the awaits that are left; answers their keys."""
        keys = list(self.waits)
        self.waits.clear()
        return keys

    def make_ready(self, settled_at: int, key: int) -> None:
        heapq.heappush(self.ready, (settled_at, self.waits[key].ids, key))

    def next_ready(self) -> tuple[int, Wait] | None:
        """The await to be answered next; None when what was ready has been given up."""
        while self.ready:
            key = heapq.heappop(self.ready)[2]
            if key in self.waits:
                return key, self.waits.pop(key)
        return None

    def give_up(self, key: int) -> list[str]:
        """Answer an await no more; answers the promises that no other await waits for."""
        wait = self.waits.pop(key, None)
        if wait is None:
            return []
        others = {place for other in self.waits.values() for place in other.ids}
        return [place for place in wait.ids if place not in others]


def closed(frame: GeneratorFrame | AsyncFrame) -> None:
    """Close the body of a frame; what it raises then is logged."""
    try:
        if isinstance(frame, GeneratorFrame):
            frame.variables.run(frame.body.close)
        else:
            frame.body.close()
    except BaseException:  # a body must not stop the worker
        log.exception("body %s failed while it was closed", frame.id)
