"""Durable RPC over RabbitMQ: calls between processes that survive a crash of anything.

Reading order: `core.model`, `core.promises`, `core.tasks`, `core.machine`, `ports`,
`ledgers.sql`, `server.service`, `runtime.replay`, `runtime.worker`, `resonate`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resonate_amqp.errors import (
        BrokerError,
        Canceled,
        Conflict,
        Encoding,
        InvalidId,
        InvalidTarget,
        LedgerError,
        NonDeterminism,
        NotDurable,
        RemoteError,
        ResonateError,
        Stopped,
        TimedOut,
        UnknownFunction,
        UsageError,
    )
    from resonate_amqp.resonate import Embedded, Resonate
    from resonate_amqp.runtime.context import Context
    from resonate_amqp.runtime.handle import Handle
    from resonate_amqp.runtime.retry import Constant, Exponential, Linear, Never
    from resonate_amqp.telemetry.logs import log_to_stderr

__version__ = "0.1.0"

__all__ = [
    "BrokerError",
    "Canceled",
    "Conflict",
    "Constant",
    "Context",
    "Embedded",
    "Encoding",
    "Exponential",
    "Handle",
    "InvalidId",
    "InvalidTarget",
    "LedgerError",
    "Linear",
    "Never",
    "NonDeterminism",
    "NotDurable",
    "RemoteError",
    "Resonate",
    "ResonateError",
    "Stopped",
    "TimedOut",
    "UnknownFunction",
    "UsageError",
    "log_to_stderr",
]

_HOMES = (
    "errors",
    "runtime.context",
    "runtime.handle",
    "runtime.retry",
    "telemetry.logs",
    "resonate",
)


if not TYPE_CHECKING:

    def __getattr__(name):
        """A public name, loaded when it is asked for: pytest finds our plugin in every suite."""
        for home in _HOMES if name in __all__ else ():
            module = importlib.import_module(f"{__name__}.{home}")
            if hasattr(module, name):
                globals()[name] = value = getattr(module, name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
