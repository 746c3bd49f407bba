"""Crashes: a worker dies at a step, at one of the two moments that make a difference.

The ledger is where both can be seen: a step is recorded when it is settled here, and what a
worker sent and the ledger never saw is what dies with the worker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from resonate_amqp.core.batch import Batch, Outcome
from resonate_amqp.core.effects import Limits, Overlay
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
        self._unseen: dict[str, Promise] = {}
        self._replaced: dict[str, Task | None] = {}
        self._leaseless: set[str] = set()
        self._offered: set[str] = set()

    def add(self, point: CrashPoint) -> None:
        """From now on, workers die at this step; what is recorded already does not count."""
        point.settled = {one.id for one in self.promises.values() if not one.pending}
        self.points.append(point)

    def apply(self, batch: Batch, clock: int) -> Outcome:
        if not self._armed():
            return super().apply(batch, clock)
        kept = [group for group in batch.groups if not self._died_before(group)]
        outcome = super().apply(replace(batch, groups=kept), clock)
        answers = iter(outcome.answers)
        outcome = replace(
            outcome, answers=tuple(next(answers) if one in kept else () for one in batch.groups)
        )
        self._die_after(kept)
        return outcome

    def next_timer(self) -> int | None:
        """When the ledger has something to do next, as far as it knows now (epoch ms)."""
        return self._timers.next_after(self.now)

    def killed(self, pid: str) -> None:
        """What this process holds now is held by nobody any more."""
        for task in self.tasks.values():
            if task.pid == pid:
                self._orphans.add((task.id, task.version))
                self._note(task)

    def longest_gap(self) -> int | None:
        """By how much the clock may be moved at once, so that every backstop is seen to work.

        A ledger that was not turned for some seconds extends the leases it should let expire;
        and it looks for offers that were lost every so often.
        """
        if self._leaseless:
            return LEASE_GAP_MS
        return OFFER_GAP_MS if self._offered else None

    def standing(self) -> list[str]:
        """The pending promises, with what each waits for."""
        return [
            f"{one.id} ({_standing(one, self.tasks.get(one.id), self.now)})"
            for one in self.promises.values()
            if one.pending
        ]

    def _store(self, state: Overlay) -> None:
        self._replaced = {task_id: self.tasks.get(task_id) for task_id in state.tasks}
        super()._store(state)
        if self._armed():
            settled = [one for one in state.promises.values() if not one.pending]
            self._unseen.update({one.id: one for one in settled})
        for task in state.tasks.values():
            self._note(task)

    def _note(self, task: Task) -> None:
        """Keep the tasks apart that the clock must not pass by, so that no jump looks at all."""
        orphan = (task.id, task.version) in self._orphans
        _put(self._leaseless, task.id, task.state is TaskState.ACQUIRED and orphan)
        _put(self._offered, task.id, task.state is TaskState.PENDING and task.offered)

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
            pid = _pid(step.id, (group,), self.tasks.get)
            if pid and self._dies("before", promise_id, param, pid):
                return True
        return False

    def _die_after(self, groups: Sequence[Group]) -> None:
        """Look at what was settled since a crash was asked for, until somebody could die of it."""
        for promise in list(self._unseen.values()):
            pid = _pid(self._task_of(promise), groups, self._before)
            if pid or not any(one.is_at(promise.id, promise.param) for one in self.points):
                del self._unseen[promise.id]
            if pid:
                self._dies("after", promise.id, promise.param, pid)

    def _before(self, task_id: str) -> Task | None:
        """A task as it was before the last batch."""
        replaced = self._replaced
        return replaced[task_id] if task_id in replaced else self.tasks.get(task_id)

    def _armed(self) -> bool:
        return any(point.times for point in self.points)

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


def _put(ids: set[str], one: str, belongs: bool) -> None:
    (ids.add if belongs else ids.discard)(one)


def _pid(
    task_id: str, groups: Sequence[Group], task_of: Callable[[str], Task | None]
) -> str | None:
    """Who holds a task while these groups are applied."""
    for group in groups:
        for step in group.steps:
            if isinstance(step, TaskAcquire) and step.id == task_id:
                return step.pid
    task = task_of(task_id)
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
