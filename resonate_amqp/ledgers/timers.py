"""Timers of a ledger in memory: sorted, so that what is due first is found without a search."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable

from resonate_amqp.core.timers import Timer, TimerKind

_Key = tuple[int, TimerKind, str]


class SortedTimers:
    """The timers of promises, tasks and schedules, by whose they are.

    `replace` costs a binary search for each timer, `before` and `next_after` one, and what they
    answer.
    """

    def __init__(self) -> None:
        self._sorted: list[_Key] = []
        self._of: dict[Hashable, tuple[_Key, ...]] = {}

    def replace(self, owner: Hashable, timers: Iterable[Timer]) -> None:
        """Have these, and no others, be the timers of an owner."""
        keys = tuple((timer.at, timer.kind, timer.id) for timer in timers)
        known = self._of.get(owner, ())
        if keys == known:
            return
        for key in known:
            del self._sorted[bisect_left(self._sorted, key)]
        for key in keys:
            insort(self._sorted, key)
        if keys:
            self._of[owner] = keys
        else:
            self._of.pop(owner, None)

    def before(self, horizon: int, limit: int) -> list[Timer]:
        """The first `limit` timers that are due before an instant."""
        end = bisect_left(self._sorted, horizon, key=_at)
        return [Timer(*key) for key in self._sorted[: min(end, limit)]]

    def next_after(self, instant: int) -> int | None:
        """When the first timer is due that is not due at an instant."""
        place = bisect_left(self._sorted, instant + 1, key=_at)
        return self._sorted[place][0] if place < len(self._sorted) else None


def _at(key: _Key) -> int:
    return key[0]
