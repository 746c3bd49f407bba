"""Ledgers with one fault each; everything else is the memory ledger's."""

from __future__ import annotations

from collections.abc import Callable

from resonate_amqp.core.batch import Backlog, Batch, Outcome
from resonate_amqp.core.model import Promise, Task
from resonate_amqp.core.pages import START, Cursor
from resonate_amqp.core.requests import Query, footprint
from resonate_amqp.core.timers import Timer
from resonate_amqp.errors import LedgerUnavailable, Superseded
from resonate_amqp.ledgers.memory import MemoryLedger


class Poisoned(MemoryLedger):
    """Fails on whatever touches the promise `poison`, and on nothing else."""

    poison = "poison"

    def apply(self, batch: Batch, clock: int) -> Outcome:
        asked = {
            touched
            for group in batch.groups
            for step in group.steps
            if not isinstance(step, Query)
            for touched in footprint(step)
        }
        if self.poison in asked | {timer.id for timer in batch.timers}:
            raise ZeroDivisionError("poison")
        return super().apply(batch, clock)

    def tree(
        self, origin: str, limit: int, cursor: Cursor = START
    ) -> list[tuple[Promise, Task | None]]:
        if origin == self.poison:
            raise ZeroDivisionError("poison")
        return super().tree(origin, limit, cursor)


class FailsOn(MemoryLedger):
    """Fails on every group with a request of the kind `failing`, such as `task.fulfill`."""

    failing = ""

    def apply(self, batch: Batch, clock: int) -> Outcome:
        if any(step.kind == self.failing for group in batch.groups for step in group.steps):
            raise ZeroDivisionError(self.failing)
        return super().apply(batch, clock)


class Failing(MemoryLedger):
    """Does not answer while `down`; `forgets` tells whether a commit before that counted."""

    down = False
    loses_answers = 0
    trials = 0

    def promote(self, clock: int) -> Backlog:
        self._check()
        return super().promote(clock)

    def apply(self, batch: Batch, clock: int) -> Outcome:
        self._check()
        outcome = super().apply(batch, clock)
        if self.loses_answers:
            self.loses_answers -= 1
            raise LedgerUnavailable("the connection broke after the commit")
        return outcome

    def trial(self) -> None:
        self.trials += 1
        self._check()

    def _check(self) -> None:
        if self.down:
            raise LedgerUnavailable("the database is gone")


class Shared(MemoryLedger):
    """One of several ledgers on one database: only the one promoted last may write."""

    def __init__(self, shared: Shared | None = None) -> None:
        super().__init__()
        if shared is not None:
            self.__dict__.update(shared.__dict__)
        self._database: MemoryLedger = shared._database if shared is not None else MemoryLedger()
        self._mine = 0

    def promote(self, clock: int) -> Backlog:
        backlog = self._database.promote(clock)
        self._mine = self._database.generation
        return backlog

    def apply(self, batch: Batch, clock: int) -> Outcome:
        if self._mine != self._database.generation:
            raise Superseded("another ledger was promoted")
        return self._database.apply(batch, clock)


class Watched(MemoryLedger):
    """Calls `applying` before each transaction, and counts the loads of timers."""

    applying: Callable[[], None] | None = None
    loads = 0

    def apply(self, batch: Batch, clock: int) -> Outcome:
        if self.applying is not None:
            self.applying()
        return super().apply(batch, clock)

    def due_before(self, horizon: int, limit: int) -> list[Timer]:
        self.loads += 1
        return super().due_before(horizon, limit)
