"""Backstop: pending tasks whose message is gone are offered again.

A queue may be purged, deleted, expire, drop what exceeds its length, or lose its disk; nobody is
told. A task that has been offered for `backstop` is offered again if its queue is missing or
empty, or if a task offered `hold_max` later has come out of it: queues are FIFO, and no worker
keeps a delivery for longer, so its own message is gone.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping

from resonate_amqp.core.model import Promise, Task, TaskState
from resonate_amqp.core.requests import TaskSearch
from resonate_amqp.core.timers import Timer, TimerKind
from resonate_amqp.ports import Broker, Ledger
from resonate_amqp.wire.address import is_foreign, queue_of

log = logging.getLogger(__name__)

LONGEST_MS = 3_600_000
LOOKS = 10
MOST = 1_000


class Backstop:
    """`after_ms` is how long an offer may stand, doubling with each of its repetitions."""

    def __init__(self, broker: Broker, after_ms: int, hold_max_ms: int) -> None:
        self._broker = broker
        self._after_ms = after_ms
        self._hold_max_ms = hold_max_ms
        self._every_ms = max(1, after_ms // LOOKS)
        self._due_at = 0
        self._waits_ms: dict[str, int] = {}
        self._again_at: dict[str, int] = {}
        self._suspects: dict[str, list[tuple[str, int]]] = {}
        self._taken: dict[str, int] = {}
        self._timers: list[Timer] = []
        self._overdue: set[str] = set()
        self._after = 0

    def clear(self) -> None:
        """Another ledger is responsible."""
        for known in (self._waits_ms, self._again_at, self._suspects, self._taken):
            known.clear()
        self._timers.clear()
        self._overdue.clear()
        self._after = 0

    def taken(self, taken: Mapping[str, int]) -> None:
        """Executes have come out of these targets' queues, the youngest offered then."""
        for target, offered_at in taken.items():
            queue = queue_of(target)
            self._taken[queue] = max(self._taken.get(queue, 0), offered_at)

    def due_at(self) -> int:
        """When to look again (monotonic ms)."""
        return self._due_at

    def look(self, ledger: Ledger, clock: int, now: int) -> None:
        """Find what has been pending for too long, and ask the broker about its queues."""
        if clock < self._due_at:
            return
        self._due_at = clock + self._every_ms
        before = now - self._after_ms
        pending = (TaskState.PENDING,)
        query = TaskSearch(states=pending, before=before, limit=MOST, after=self._after)
        found = ledger.search(query)
        suspects: dict[str, list[tuple[str, int]]] = defaultdict(list)
        offered_at = 0
        for promise, task in found:
            if task is None or task.retry_at is None:
                continue
            offered_at = task.retry_at
            if not (promise.pending and task.offered) or _out_of_reach(promise, task):
                continue
            self._overdue.add(task.id)
            if self._again_at.get(task.id, 0) <= now:
                suspects[queue_of(promise.target)].append((task.id, task.retry_at))
        self._turn_page(offered_at if len(found) == MOST else None)
        self._suspects = suspects
        for queue in suspects:
            self._broker.inspect(queue)

    def _turn_page(self, last: int | None) -> None:
        """Go on behind the last one next time, so that many that wait never hide the others."""
        if last is not None:
            self._after = last if last > self._after else self._after + 1
            return
        self._forget_all_but(self._overdue)
        self._overdue.clear()
        self._after = 0

    def inspected(self, queue: str, messages: int | None, now: int) -> None:
        """Offer again what cannot be in the queue any more; `messages` None: it is missing."""
        taken = self._taken.get(queue, 0)
        gone = [
            task_id
            for task_id, offered_at in self._suspects.pop(queue, ())
            if not messages or offered_at + self._hold_max_ms <= taken
        ]
        if gone:
            state = "missing" if messages is None else "empty" if not messages else "further on"
            log.warning(
                "%d tasks are offered again: %s is %s, and they are pending (%s, …)",
                len(gone),
                queue,
                state,
                gone[0],
            )
        for task_id in gone:
            wait_ms = min(2 * self._waits_ms.get(task_id, self._after_ms // 2), LONGEST_MS)
            self._waits_ms[task_id] = wait_ms
            self._again_at[task_id] = now + wait_ms
            self._timers.append(Timer(now, TimerKind.BACKSTOP, task_id))

    def take(self) -> list[Timer]:
        """The timers to fire now."""
        timers, self._timers = self._timers, []
        return timers

    def _forget_all_but(self, overdue: set[str]) -> None:
        for known in (self._waits_ms, self._again_at):
            for task_id in known.keys() - overdue:
                del known[task_id]


def _out_of_reach(promise: Promise, task: Task) -> bool:
    """Whether whoever took the message may know nothing of us, and be at work: then a second one
    would have the work done twice."""
    return is_foreign(promise.target) and not task.version
