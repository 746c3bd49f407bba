"""Slots: how many accepted bodies there may be, and when waiting ones must make room.

When no slot was free for 250 ms, waiting bodies are parked until a quarter is free. The pressure
counts as ended only after a slot stayed free for as long; so a queue full of work is not held up
again for every body.
"""

from __future__ import annotations

from collections.abc import Callable

from resonate_amqp.ports import Clock

PATIENCE_MS = 250


class Slots:
    """`total` slots, one per accepted body."""

    def __init__(self, total: int, clock: Clock) -> None:
        self._total = total
        self._clock = clock
        self._full_since: int | None = None
        self._free_since: int | None = None

    def to_free(self, in_use: int, leaving: Callable[[], int]) -> int:
        """How many slots waiting bodies should give up now.

        `leaving` counts those in use that are about to be free; it is asked only when needed.
        """
        now = self._clock.monotonic()
        free = self._total - in_use
        if free > 0:
            if self._free_since is None:
                self._free_since = now
            elif now - self._free_since >= PATIENCE_MS:
                self._full_since = None
        else:
            self._free_since = None
            if self._full_since is None:
                self._full_since = now
        if self._full_since is None or now - self._full_since < PATIENCE_MS:
            return 0
        return max(0, max(1, self._total // 4) - max(0, free) - leaving())

    def recheck_ms(self) -> int | None:
        """When to ask again although nothing happens; None when that is not needed."""
        if self._full_since is None or self._free_since is not None:
            return None
        left = self._full_since + PATIENCE_MS - self._clock.monotonic()
        return left if left > 0 else None
