"""Ending: how a body left this process."""

from __future__ import annotations

from enum import StrEnum


class Ending(StrEnum):
    """What became of a task that this process held, or tried to hold."""

    RESOLVED = "resolved"
    REJECTED = "rejected"
    SUSPENDED = "suspended"
    RELEASED = "released"
    HALTED = "halted"
    LOST = "lost"
    RETURNED = "returned"
    """Somebody else holds the task under this very delivery, which has to go back."""
