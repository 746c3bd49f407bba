"""Logs: durable functions as log lines, and the set-up that command line programs use.

The package itself never touches the root logger.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import msgspec

log = logging.getLogger("resonate_amqp.functions")

_FIELDS = ("promise_id", "function", "version", "outcome", "duration_ms", "parent_id", "kind")


class LogTelemetry:
    """Satisfies the port `Telemetry`: one line when a body starts, calls and finishes."""

    def started(self, promise_id: str, function: str, version: int) -> None:
        _tell(
            "%(promise_id)s started %(function)s (function version %(version)d)",
            promise_id=promise_id,
            function=function,
            version=version,
        )

    def finished(self, promise_id: str, function: str, outcome: str, duration_ms: float) -> None:
        _tell(
            "%(promise_id)s %(function)s %(outcome)s after %(duration_ms).1f ms",
            promise_id=promise_id,
            function=function,
            outcome=outcome,
            duration_ms=duration_ms,
        )

    def called(self, promise_id: str, parent_id: str, function: str, kind: str) -> None:
        _tell(
            "%(parent_id)s %(kind)s %(function)s as %(promise_id)s",
            promise_id=promise_id,
            parent_id=parent_id,
            function=function,
            kind=kind,
        )


def _tell(text: str, **fields: Any) -> None:
    if log.isEnabledFor(logging.INFO):
        log.info(text, fields, extra=fields)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, text and the fields of the event."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def log_to_stderr(level: str = "info", *, as_json: bool = False) -> None:
    """Send the package's logs to standard error; for programs, not for libraries."""
    handler = logging.StreamHandler(sys.stderr)
    formatter: logging.Formatter = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s")
    handler.setFormatter(JsonFormatter() if as_json else formatter)
    logger = logging.getLogger("resonate_amqp")
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
    logging.getLogger("pika").setLevel(logging.CRITICAL)
