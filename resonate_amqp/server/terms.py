"""Terms: what a ledger service is set to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """`backstop_ms` and `hold_max_ms` as the settings of the same name, in milliseconds.

    With `declare` false what is missing on the broker is reported and not created.
    """

    queue_type: str = "quorum"
    declare: bool = True
    backstop_ms: int = 300_000
    hold_max_ms: int = 600_000
