"""GuardedTelemetry: what a telemetry raises is logged, and stops nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from resonate_amqp.ports import Telemetry

log = logging.getLogger(__name__)


class GuardedTelemetry:
    """Satisfies the port `Telemetry` on behalf of one that a user wrote."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def started(self, promise_id: str, function: str, version: int) -> None:
        _tell(self._telemetry.started, promise_id, function, version)

    def finished(self, promise_id: str, function: str, outcome: str, duration_ms: float) -> None:
        _tell(self._telemetry.finished, promise_id, function, outcome, duration_ms)

    def called(self, promise_id: str, parent_id: str, function: str, kind: str) -> None:
        _tell(self._telemetry.called, promise_id, parent_id, function, kind)


def _tell(told: Callable[..., None], *what: Any) -> None:
    try:
        told(*what)
    except Exception:
        log.exception("the telemetry failed on %r", what)
