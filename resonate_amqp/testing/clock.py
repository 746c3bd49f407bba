"""Time in a test: it stands still until it is moved."""

from __future__ import annotations

BEGIN_MS = 1_000
"""Where monotonic time begins: zero would be an odd instant."""


class ManualClock:
    """Satisfies the port `Clock`; `elapsed` is its monotonic time, `zero_ms` where that began."""

    def __init__(self, start_ms: int) -> None:
        self.zero_ms = start_ms - BEGIN_MS
        self.elapsed = BEGIN_MS

    def now(self) -> int:
        return self.zero_ms + self.elapsed

    def monotonic(self) -> int:
        return self.elapsed

    def move(self, milliseconds: int) -> None:
        """Go on."""
        self.elapsed += milliseconds
