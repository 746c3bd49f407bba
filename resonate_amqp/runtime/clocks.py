"""Clocks: time limits that a body has set by the clock of this process, as asyncio.timeout does."""

from __future__ import annotations

import asyncio
from typing import Any

from resonate_amqp.errors import NotDurable

LIMITS = frozenset(
    {"asyncio.tasks", "asyncio.timeouts", "async_timeout", "anyio._backends._asyncio"}
)
"""Modules whose timers end an await: `asyncio.timeout`, `wait_for`, `wait`, `as_completed`; a
sleep's timer is of `asyncio.futures`."""


def is_limit(callback: Any) -> bool:
    """Whether a timer that calls this back is a time limit on awaits."""
    return getattr(callback, "__module__", "") in LIMITS


class Clocks:
    """The limits of one body."""

    def __init__(self) -> None:
        self._handles: list[asyncio.TimerHandle] = []

    def add(self, handle: asyncio.TimerHandle) -> None:
        self._handles.append(handle)

    def refuse_running(self, body_id: str, now: float) -> None:
        """Raise NotDurable if a limit is set that has not passed; `now` is the loop's time (s)."""
        self._handles = [one for one in self._handles if not one.cancelled() and one.when() > now]
        if self._handles:
            raise NotDurable(
                f"{body_id!r} makes durable calls under a limit of asyncio (asyncio.timeout, "
                "asyncio.wait_for, or a timeout= of asyncio.wait), which goes by the clock of this "
                "process and is not recorded: use `with ctx.timeout(seconds)` or ctx.race"
            )
