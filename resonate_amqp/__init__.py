"""Durable RPC over RabbitMQ: calls between processes that survive a crash of anything.

Reading order: `core.model`, `core.promises`, `core.tasks`, `core.machine`, `ports`,
`ledgers.sql`, `server.service`, `runtime.replay`, `runtime.worker`, `resonate`.
"""

from __future__ import annotations

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
]
