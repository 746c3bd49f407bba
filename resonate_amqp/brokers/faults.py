"""Faults: what may go wrong on a network, arranged for the broker inside the process."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class Fate(Enum):
    """What happens to one publish."""

    DELIVER = "deliver"
    DROP = "drop"
    DUPLICATE = "duplicate"
    DELAY = "delay"
    """Kept aside until `release`, and so overtaken by what is published later."""


Faults = Callable[[str, bytes, bool], Fate]
"""Decides the fate of a publish from its queue, body and whether it is persistent."""
