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


_Entry = tuple[int, int, Alarm]


class Alarms:
    """Two heaps of alarms, the routine ones apart; all instants are monotonic milliseconds."""

    def __init__(self) -> None:
        self._needed: list[_Entry] = []
        self._routine: list[_Entry] = []
        self._order = itertools.count()

    def at(self, instant: int, action: Callable[[], None], *, routine: bool = False) -> Alarm:
        alarm = Alarm(action, routine=routine)
        heap = self._routine if routine else self._needed
        heapq.heappush(heap, (instant, next(self._order), alarm))
        return alarm

    def fire_due(self, now: int) -> None:
        while (heap := self._first()) and heap[0][0] <= now:
            heapq.heappop(heap)[2].fire()

    def next_needed_at(self) -> int | None:
        """When the next alarm that is not routine is due: how far a test may skip ahead."""
        _drop_canceled(self._needed)
        return self._needed[0][0] if self._needed else None

    def next_at(self) -> int | None:
        """When the next alarm that was not canceled is due."""
        _drop_canceled(self._needed)
        _drop_canceled(self._routine)
        heap = self._first()
        return heap[0][0] if heap else None

    def _first(self) -> list[_Entry]:
        """The heap whose first alarm is due first; an empty one if both are."""
        if self._needed and self._routine:
            return min(self._needed, self._routine, key=_instant_and_order)
        return self._needed or self._routine


def _instant_and_order(heap: list[_Entry]) -> tuple[int, int]:
    return heap[0][:2]


def _drop_canceled(heap: list[_Entry]) -> None:
    while heap and not heap[0][2].pending:
        heapq.heappop(heap)
