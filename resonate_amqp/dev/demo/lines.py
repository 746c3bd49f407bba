"""The demo's lines: service, promise id, what happened, how long it took."""

from __future__ import annotations

import threading

import click

from resonate_amqp.errors import ResonateError

WAIT_S = 20.0


class Lines:
    """Prints aligned lines, whole, from any thread."""

    def __init__(self, *, begins: bool) -> None:
        self._begins = begins
        self._changed = threading.Condition()
        self._ended: set[str] = set()

    def line(self, service: str, promise_id: str, what: str, duration: str = "") -> None:
        text = f"  {service:<10} {promise_id:<20} {what:<28}{duration:>9}".rstrip()
        with self._changed:
            click.echo(text)

    def of(self, service: str) -> ServiceLines:
        return ServiceLines(self, service)

    def ended(self, function: str) -> None:
        with self._changed:
            self._ended.add(function)
            self._changed.notify_all()

    def wait_for(self, function: str) -> None:
        """Wait until a body of the function has ended and its line is out."""
        with self._changed:
            if not self._changed.wait_for(lambda: function in self._ended, WAIT_S):
                raise ResonateError(f"{function} did not end within {WAIT_S:g} s")

    def began(self, service: str, promise_id: str, function: str) -> None:
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
        self._lines.ended(function)

    def called(self, promise_id: str, parent_id: str, function: str, kind: str) -> None:
        return
