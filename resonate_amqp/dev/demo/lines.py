"""The demo's lines: service, promise id, what happened, how long it took."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import click


class Lines:
    """Prints aligned lines, whole, from any thread; counts the bodies that began."""

    def __init__(self, *, begins: bool, heard: Callable[[str], None] | None = None) -> None:
        self._begins = begins
        self._heard = heard
        self._lock = threading.Lock()
        self.begun: Counter[str] = Counter()

    def line(self, service: str, promise_id: str, what: str, duration: str = "") -> None:
        text = f"  {service:<10} {promise_id:<20} {what:<28}{duration:>9}".rstrip()
        with self._lock:
            click.echo(text)
        if self._heard is not None:
            self._heard(text)

    def of(self, service: str) -> ServiceLines:
        return ServiceLines(self, service)

    def began(self, service: str, promise_id: str, function: str) -> None:
        self.begun[function] += 1
        if self._begins:
            self.line(service, promise_id, f"{function} begins")


class ServiceLines:
    """Satisfies the port `Telemetry` for one service."""

    def __init__(self, lines: Lines, service: str) -> None:
        self._lines = lines
        self._service = service

    def started(self, promise_id: str, function: str, version: int) -> None:
        self._lines.began(self._service, promise_id, function)

    def finished(self, promise_id: str, function: str, outcome: str, duration_ms: float) -> None:
        what = f"{function} {outcome}"
        self._lines.line(self._service, promise_id, what, f"{duration_ms:.0f} ms")

    def called(self, promise_id: str, parent_id: str, function: str, kind: str) -> None:
        return
