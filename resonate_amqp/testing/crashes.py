"""Crashes: a worker dies at a step, at one of the two moments that make a difference.

The ledger is where both can be seen: a step is recorded when it is settled here, and what a
worker sent and the ledger never saw is what dies with the worker.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from resonate_amqp.core.batch import Batch, Outcome
from resonate_amqp.core.effects import Limits
from resonate_amqp.core.model import Promise, Task, TaskState, Value
from resonate_amqp.core.requests import (
    Group,
    PromiseCreate,
    PromiseSettle,
    TaskAcquire,
    TaskFence,
    TaskFulfill,
)
from resonate_amqp.ledgers.memory import MemoryLedger

LEASE_GAP_MS = 4_000
OFFER_GAP_MS = 30_000

When = Literal["before", "after"]
"""Before the step's outcome is recorded, or after."""


@dataclass(slots=True)
class CrashPoint:
    """A step, by its function's name or its promise's id, and how often a worker dies at it."""

    step: str
    when: When
    times: int
    settled: set[str] = field(default_factory=set)

    def is_at(self, promise_id: str, param: Value) -> bool:
        return self.step in (promise_id, param.headers.get("func"))

    def __str__(self) -> str:
        return f"crash_at({self.step!r}, when={self.when!r})"


class WatchedLedger(MemoryLedger):
    """A ledger in memory that has workers killed by `kill`, which is given a pid.

    `kill` answers whether there was such a worker. `crashes` are the promises at whose steps
    workers died, in order.
    """

    def __init__(self, limits: Limits, kill: Callable[[str], bool]) -> None:
        super().__init__(limits)
        self.points: list[CrashPoint] = []
        self.crashes: list[str] = []
        self._kill = kill
        self._orphans: set[tuple[str, int]] = set()

    def add(self, point: CrashPoint) -> None:
        """From now on, workers die at this step; what is recorded already does not count."""
        point.settled = {one.id for one in self.promises.values() if not one.pending}
        self.points.append(point)

    def apply(self, batch: Batch, clock: int) -> Outcome:
        if not any(point.times for point in self.points):
            return super().apply(batch, clock)
        kept = [group for group in batch.groups if not self._died_before(group)]
        before = dict(self.tasks)
        outcome = super().apply(replace(batch, groups=kept), clock)
        answers = iter(outcome.answers)
        outcome = replace(
            outcome, answers=tuple(next(answers) if one in kept else () for one in batch.groups)
        )
        self._die_after(kept, before)
        return outcome

    def next_timer(self) -> int | None:
        """When the ledger has something to do next, as far as it knows now (epoch ms)."""
        timers = self.due_before(sys.maxsize, sys.maxsize)
        return min((timer.at for timer in timers if timer.at > self.now), default=None)

    def killed(self, pid: str) -> None:
        """What this process holds now is held by nobody any more."""
        self._orphans |= {
            (task.id, task.version) for task in self.tasks.values() if task.pid == pid
        }

    def longest_gap(self) -> int | None:
        """By how much the clock may be moved at once, so that every backstop is seen to work.

        A ledger that was not turned for some seconds extends the leases it should let expire;
        and it looks for offers that were lost every so often.
        """
        gaps = {
            LEASE_GAP_MS if task.state is TaskState.ACQUIRED else OFFER_GAP_MS
            for task in self.tasks.values()
            if (task.state is TaskState.ACQUIRED and (task.id, task.version) in self._orphans)
            or (task.state is TaskState.PENDING and task.offered)
        }
        return min(gaps, default=None)

    def standing(self) -> list[str]:
        """The pending promises, with what each waits for."""
        return [
            f"{one.id} ({_standing(one, self.tasks.get(one.id), self.now)})"
            for one in self.promises.values()
            if one.pending
        ]

    def _died_before(self, group: Group) -> bool:
        """Whether the sender dies over a step that this group was to record."""
        created = {
            one.action.id: one.action.param
            for one in group.steps
            if isinstance(one, TaskFence) and isinstance(one.action, PromiseCreate)
        }
        for step in group.steps:
            if not isinstance(step, TaskFence | TaskFulfill):
                continue
            if not isinstance(step.action, PromiseSettle):
                continue
            promise_id = step.action.id
            promise = self.promises.get(promise_id)
            param = promise.param if promise else created.get(promise_id)
            if param is None or (promise is not None and not promise.pending):
                continue
            pid = _pid(step.id, (group,), self.tasks)
            if pid and self._dies("before", promise_id, param, pid):
                return True
        return False

    def _die_after(self, groups: Sequence[Group], before: dict[str, Task]) -> None:
        for promise in list(self.promises.values()):
            if not promise.pending:
                pid = _pid(self._task_of(promise), groups, before)
                if pid:
                    self._dies("after", promise.id, promise.param, pid)

    def _task_of(self, promise: Promise) -> str:
        return promise.id if promise.id in self.tasks else promise.branch

    def _dies(self, when: When, promise_id: str, param: Value, pid: str) -> bool:
        for point in self.points:
            known = promise_id in point.settled
            if point.when != when or known or not point.is_at(promise_id, param):
                continue
            if when == "after":
                point.settled.add(promise_id)
            if point.times and self._kill(pid):
                point.times -= 1
                self.crashes.append(promise_id)
                return True
        return False


def _pid(task_id: str, groups: Sequence[Group], tasks: dict[str, Task]) -> str | None:
    """Who holds a task while these groups are applied."""
    for group in groups:
        for step in group.steps:
            if isinstance(step, TaskAcquire) and step.id == task_id:
                return step.pid
    task = tasks.get(task_id)
    return task.pid if task else None


def _standing(promise: Promise, task: Task | None, now: int) -> str:
    if promise.timer:
        return f"a sleep, for another {(promise.timeout_at - now) / 1000:g} s"
    if task is None:
        return "to be settled from outside" if promise.external else "a step under way"
    at = {
        TaskState.PENDING: ("offered again", task.retry_at),
        TaskState.ACQUIRED: ("its lease ends", task.expires_at),
    }.get(task.state)
    if at is None or at[1] is None or at[1] <= now:
        return f"{task.state}{f': {task.reason}' if task.reason else ''}"
    return f"{task.state}, {at[0]} in {(at[1] - now) / 1000:g} s"
