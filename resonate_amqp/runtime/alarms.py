"""Alarms: what a turn has to do at a later instant, on the monotonic clock."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class Alarm:
    """One thing to do; `cancel` makes it a no-op.

    A `routine` one only looks whether something is to be done, or repeats in case it was lost:
    a test that skips time need not stop at it.
    """

    __slots__ = ("_action", "routine")

    def __init__(self, action: Callable[[], None], *, routine: bool = False) -> None:
        self._action: Callable[[], None] | None = action
        self.routine = routine

    @classmethod
    def none(cls) -> Alarm:
        """An alarm that never fires."""
        alarm = cls(lambda: None)
        alarm.cancel()
        return alarm

    def cancel(self) -> None:
        self._action = None

    def fire(self) -> None:
        action, self._action = self._action, None
        if action is not None:
            action()

    @property
    def pending(self) -> bool:
        return self._action is not None


class Alarms:
    """A heap of alarms; all instants are monotonic milliseconds."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Alarm]] = []
        self._order = itertools.count()

    def at(self, instant: int, action: Callable[[], None], *, routine: bool = False) -> Alarm:
        alarm = Alarm(action, routine=routine)
        heapq.heappush(self._heap, (instant, next(self._order), alarm))
        return alarm

    def fire_due(self, now: int) -> None:
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2].fire()

    def next_needed_at(self) -> int | None:
        """When the next alarm that is not routine is due: how far a test may skip ahead."""
        needed = (at for at, _, alarm in self._heap if alarm.pending and not alarm.routine)
        return min(needed, default=None)

    def next_at(self) -> int | None:
        """When the next alarm that was not canceled is due."""
        while self._heap and not self._heap[0][2].pending:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
