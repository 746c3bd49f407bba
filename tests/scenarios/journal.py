"""The journal of a scenario: which body ran where and when; and gates that hold a body back.

Both are files in one folder, so that the test and every process of the scenario see them.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

FOLDER = "SCENARIO_FOLDER"
"""The environment variable that tells a process of the scenario its folder."""


@dataclass(frozen=True, slots=True)
class Run:
    """A body that began; `at` is in seconds of the clock that all processes share."""

    function: str
    promise_id: str
    pid: int
    at: float


class Journal:
    """The journal and the gates in a folder; a gate is open unless it was closed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "journal"

    def began(self, function: str, promise_id: str) -> None:
        """A body begins; lines of several processes never mix."""
        line = f"{function} {promise_id} {os.getpid()} {time.monotonic()}\n"
        journal = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(journal, line.encode())
        finally:
            os.close(journal)

    def runs(self, function: str = "") -> list[Run]:
        """Every body that began, or those of one function, in order."""
        if not self._path.exists():
            return []
        found = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            name, promise_id, pid, at = line.split()
            if function in ("", name):
                found.append(Run(name, promise_id, int(pid), float(at)))
        return found

    def counts(self) -> dict[str, int]:
        """How many bodies of each function began."""
        return dict(Counter(run.function for run in self.runs()))

    def close_gate(self, name: str) -> None:
        self._gate(name).touch()

    def open_gate(self, name: str) -> None:
        self._gate(name).unlink()

    def closed(self, name: str) -> bool:
        return self._gate(name).exists()

    def pass_gate(self, name: str) -> None:
        """Wait while the gate is closed."""
        while self.closed(name):
            time.sleep(0.01)

    def _gate(self, name: str) -> Path:
        return self._folder / f"{name}.closed"


def own_journal() -> Journal:
    """The journal of the scenario that this process belongs to."""
    return Journal(Path(os.environ[FOLDER]))
