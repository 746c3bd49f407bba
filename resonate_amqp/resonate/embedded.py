"""Embedded: broker and ledger inside this process, shared by several Resonate instances.

In memory by default; with `ledger="sqlite:///FILE"` the promises outlive the process. Queues
never do: so at start every lease is released and every pending task offered again, before
anything is served.
"""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path
from typing import IO

from resonate_amqp.brokers.memory import MemoryBroker, MemoryConnection
from resonate_amqp.core.effects import Limits
from resonate_amqp.errors import UsageError
from resonate_amqp.ledgers.memory import MemoryLedger
from resonate_amqp.ports import Broker, Ledger
from resonate_amqp.resonate.machine import NoFailpoints, Pump, SystemClock, SystemRandom
from resonate_amqp.server.service import LedgerService
from resonate_amqp.wire.address import any_queue

ANY_PREFIX = any_queue("")


class Embedded:
    """A whole system in this process; a context manager.

    Raises UsageError when another process uses the same file, LedgerUnavailable or SchemaError
    when the database cannot be used. `serves_every_group` sends every anycast call to the queue
    of that one group.
    """

    def __init__(
        self,
        ledger: str | None = None,
        *,
        max_deliveries: int = 10,
        serves_every_group: str | None = None,
    ) -> None:
        self._lock: IO[str] | None = None
        self._closed = threading.Event()
        limits = Limits(max_deliveries=max_deliveries)
        clock = SystemClock()
        self._ledger: Ledger = self._open(ledger, limits) if ledger else MemoryLedger(limits)
        self._ledger.promote(clock.now())
        self._ledger.restart(clock.now())
        self._broker = MemoryBroker(reroute=_to(serves_every_group))
        connection = self._broker.connect()
        self.service = LedgerService(
            self._ledger, connection, clock, SystemRandom(), NoFailpoints(), queue_type="classic"
        )
        self._pump = Pump(connection, self.service, "resonate-ledger")

    def connect(self) -> MemoryConnection:
        """Access to the embedded broker, for one Resonate."""
        if self._closed.is_set():
            raise UsageError("the embedded system was closed; create another one")
        return self._broker.connect()

    def close(self) -> None:
        """Stop the ledger and unlock its database."""
        if not self._closed.is_set():
            self._closed.set()
            self._pump.stop()
            self._ledger.close()
            if self._lock is not None:
                self._lock.close()

    def __enter__(self) -> Embedded:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, url: str, limits: Limits) -> Ledger:
        from resonate_amqp.ledgers import database, schema
        from resonate_amqp.ledgers.sql import SqlLedger

        parsed = database.parse(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            self._lock = _locked(Path(parsed.database.removeprefix("file:")))
        try:
            schema.prepare(url)
            return SqlLedger(url, limits=limits)
        except BaseException:
            if self._lock is not None:
                self._lock.close()
            raise


def open_broker(url: str, *, heartbeat_s: int, name: str) -> Broker:
    """RabbitMQ behind `url`; pika is loaded only when it is used."""
    from resonate_amqp.brokers.rabbitmq import RabbitBroker

    return RabbitBroker(url, heartbeat_s=heartbeat_s, name=name)


def _locked(path: Path) -> IO[str]:
    """Hold the file's lock for as long as the answer is open; another process is refused."""
    lock = path.with_name(path.name + ".lock")
    try:
        handle = lock.open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"ledger {path} cannot be locked: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise UsageError(
            f"ledger {path} is in use; within one process share an Embedded(ledger=…) by system=, "
            "between processes run a ledger service and give each of them url='amqp://…'"
        ) from None
    return handle


def _to(group: str | None) -> dict[str, str] | None:
    return {ANY_PREFIX: any_queue(group)} if group else None
