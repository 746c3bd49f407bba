"""Retry policies of leaves: how long to wait after the n-th failed attempt.

A workflow is never retried: its failed steps already were, each by its own policy.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Protocol

FOREVER = sys.maxsize


class RetryPolicy(Protocol):
    """How often a failed leaf is tried again, and after what delay."""

    @property
    def max_retries(self) -> int: ...

    def delay_s(self, attempt: int) -> float:
        """Seconds to wait after the failed attempt with this number, counted from 1."""
        ...


@dataclass(frozen=True, slots=True)
class Never:
    """One attempt: the default."""

    max_retries: int = 0

    def delay_s(self, attempt: int) -> float:
        return 0.0


@dataclass(frozen=True, slots=True)
class Constant:
    """The same delay (seconds) after every failure."""

    delay: float = 1.0
    max_retries: int = FOREVER

    def delay_s(self, attempt: int) -> float:
        return self.delay


@dataclass(frozen=True, slots=True)
class Linear:
    """`delay` seconds more after every failure."""

    delay: float = 1.0
    max_retries: int = FOREVER

    def delay_s(self, attempt: int) -> float:
        return self.delay * attempt


@dataclass(frozen=True, slots=True)
class Exponential:
    """`delay * factor ** attempt` seconds, at most `max_delay`."""

    delay: float = 1.0
    max_retries: int = FOREVER
    factor: float = 2.0
    max_delay: float = 30.0

    def delay_s(self, attempt: int) -> float:
        try:
            return min(self.delay * self.factor**attempt, self.max_delay)
        except OverflowError:
            return self.max_delay


def retries_after(policy: RetryPolicy, attempt: int, left_ms: int) -> int | None:
    """Milliseconds until the next attempt; None when there is to be none.

    `attempt` is the number of the one that failed, `left_ms` the time to the promise's deadline:
    an attempt that could only start after it is not made.
    """
    if attempt > policy.max_retries:
        return None
    delay_ms = round(policy.delay_s(attempt) * 1000)
    return delay_ms if delay_ms < left_ms else None
