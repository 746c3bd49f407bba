"""Embedded: broker and ledger inside this process, shared by several Resonate instances.

In memory by default; with `ledger="sqlite:///FILE"` the promises outlive the process. Queues
never do: so at start every lease is released and every pending task offered again, before
anything is served.
"""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from weakref import WeakSet

from resonate_amqp.brokers.memory import MemoryBroker, MemoryConnection
from resonate_amqp.core.effects import Limits
from resonate_amqp.errors import UsageError
from resonate_amqp.ledgers.memory import MemoryLedger
from resonate_amqp.ports import Broker, Clock, Failpoints, Ledger, Telemetry
from resonate_amqp.resonate.machine import Drive, NoFailpoints, Pump, SystemClock, SystemRandom
from resonate_amqp.resonate.node import Node
from resonate_amqp.runtime.executor import ThreadExecutor
from resonate_amqp.runtime.registry import Registry
from resonate_amqp.server.service import LedgerService
from resonate_amqp.server.terms import Terms
from resonate_amqp.settings import Settings
from resonate_amqp.wire.address import any_queue, is_foreign

ANY_PREFIX = any_queue("")


class Embedded:
    """A whole system in this process; a context manager.

    Raises UsageError when another process uses the same file, LedgerUnavailable or SchemaError
    when the database cannot be used. `serves_every_group` sends every anycast call to the queue
    of that one group. `broker`, `clock`, `drive` and `failpoints` are what it is made of, where a
    test wants its own; the same goes for a `ledger` that is not given as a url.
    """

    def __init__(
        self,
        ledger: str | Ledger | None = None,
        *,
        max_deliveries: int = 10,
        serves_every_group: str | None = None,
        broker: MemoryBroker | None = None,
        clock: Clock | None = None,
        drive: Drive = Pump,
        failpoints: Failpoints | None = None,
    ) -> None:
        self._lock: IO[str] | None = None
        self._closed = threading.Event()
        self._process = os.getpid()
        self._failpoints = failpoints or NoFailpoints()
        limits = Limits(max_deliveries=max_deliveries, refuses=_has_no_queue)
        clock = clock or SystemClock()
        self._ledger = self._open(ledger, limits)
        self._ledger.promote(clock.now())
        self._ledger.restart(clock.now())
        self._broker = broker or MemoryBroker(reroute=_to(serves_every_group))
        connection = self._broker.connect()
        self.service = LedgerService(
            self._ledger,
            connection,
            clock,
            SystemRandom(),
            self._failpoints,
            terms=Terms(queue_type="classic"),
        )
        self._pump = drive(connection, self.service, "resonate-ledger", lambda _error: None)
        _systems.add(self)

    def connect(self) -> MemoryConnection:
        """Access to the embedded broker, for one Resonate."""
        if self._process != os.getpid():
            raise UsageError(
                f"the embedded system belongs to process {self._process}, which forked this one; "
                "create another one here, or share a broker: url='amqp://…'"
            )
        if self._closed.is_set():
            raise UsageError("the embedded system was closed; create another one")
        return self._broker.connect()

    def join(
        self,
        registry: Registry,
        settings: Settings,
        dependencies: Mapping[str, Any],
        telemetry: Telemetry,
        on_failure: Callable[[], None],
    ) -> Node:
        """The part that one Resonate plays in this system."""
        return Node(
            self.connect(),
            registry,
            settings,
            dependencies,
            ThreadExecutor(settings.threads),
            telemetry,
            self._failpoints,
            on_failure,
        )

    def close(self) -> None:
        """Stop the ledger and unlock its database."""
        if self._process == os.getpid() and not self._closed.is_set():
            self._closed.set()
            self._pump.stop()
            self._ledger.close()
            if self._lock is not None:
                self._lock.close()

    def __enter__(self) -> Embedded:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, url: str | Ledger | None, limits: Limits) -> Ledger:
        if not url:
            return MemoryLedger(limits)
        if not isinstance(url, str):
            return url
        with _quietly("alembic"):
            return self._open_database(url, limits)

    def _open_database(self, url: str, limits: Limits) -> Ledger:
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

    def _forked(self) -> None:
        """In a forked child: let go of what the parent holds, and touch none of it."""
        if self._lock is not None:
            self._lock.close()
        # Closing a database of the parent is not safe, and may wait for a lock of its threads.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._ledger))


_systems: WeakSet[Embedded] = WeakSet()


def _after_fork() -> None:
    for system in list(_systems):
        system._forked()


os.register_at_fork(after_in_child=_after_fork)


def open_broker(url: str, *, heartbeat_s: int, name: str) -> Broker:
    """RabbitMQ behind `url`; pika is loaded only when it is used."""
    from resonate_amqp.brokers.rabbitmq import RabbitBroker

    return RabbitBroker(url, heartbeat_s=heartbeat_s, name=name)


@contextmanager
def _quietly(logger: str) -> Iterator[None]:
    """Have a library say less than it would tell the application about its own use of it."""
    log = logging.getLogger(logger)
    level = log.level
    log.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        log.setLevel(level)


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


def _has_no_queue(target: str) -> str:
    if not is_foreign(target):
        return ""
    return (
        f"target {target!r}: an embedded system has no queues but its own; give Resonate the url "
        "of the broker where that queue is"
    )


def _to(group: str | None) -> dict[str, str] | None:
    return {ANY_PREFIX: any_queue(group)} if group else None
