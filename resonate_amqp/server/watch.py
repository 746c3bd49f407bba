"""Watch: the timers due soon, in memory; the rest stay in the ledger's index.

Timers only mean "not before": a double or an outdated one costs a look and does no harm.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from resonate_amqp.core.timers import Timer
from resonate_amqp.ports import Ledger

WINDOW_MS = 60_000
MOST = 10_000


class Watch:
    """A heap of the timers before `horizon`, refilled from the ledger before it is reached.

    When there are more than a load takes, the heap is partial: refilled once it is empty.
    """

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._horizon = 0
        self._partial = False

    def restart(self, ledger: Ledger, now: int) -> None:
        """Forget everything and load what is due within the window."""
        self._heap = []
        self._horizon = 0
        self._load(ledger, now)

    def add(self, timers: Iterable[Timer]) -> None:
        for timer in timers:
            if timer.at < self._horizon:
                heapq.heappush(self._heap, timer)

    def take_due(self, ledger: Ledger, now: int, limit: int) -> list[Timer]:
        """Remove and answer what is due, at most `limit`."""
        if self._used_up(now):
            self._load(ledger, now)
        due: list[Timer] = []
        while self._heap and self._heap[0].at <= now and len(due) < limit:
            timer = heapq.heappop(self._heap)
            if not due or due[-1] != timer:
                due.append(timer)
        return due

    def next_at(self) -> int:
        """When to look again (epoch ms)."""
        if self._partial:
            return self._heap[0].at if self._heap else 0
        refill = self._horizon - WINDOW_MS // 2
        return min(self._heap[0].at, refill) if self._heap else refill

    def _used_up(self, now: int) -> bool:
        if self._partial:
            return not self._heap
        return now >= self._horizon - WINDOW_MS // 2

    def _load(self, ledger: Ledger, now: int) -> None:
        horizon = now + WINDOW_MS
        timers = ledger.due_before(horizon, MOST)
        self._partial = len(timers) == MOST
        if self._partial:
            horizon = max(timers[-1].at, now + 1)
        known = set(self._heap)
        for timer in timers:
            if timer not in known:
                heapq.heappush(self._heap, timer)
        self._horizon = horizon
