"""A ledger service of its own: database, broker and loop, joined."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from resonate_amqp.core.effects import Limits
from resonate_amqp.ledgers import schema, sharding
from resonate_amqp.ledgers.database import shown
from resonate_amqp.ledgers.sql import SqlLedger
from resonate_amqp.resonate.embedded import open_broker
from resonate_amqp.resonate.failpoints import Mishap, armed
from resonate_amqp.resonate.machine import Pump, SystemClock, SystemRandom
from resonate_amqp.server.foreign import Allowed
from resonate_amqp.server.service import LedgerService
from resonate_amqp.server.terms import Terms
from resonate_amqp.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Served:
    ledger: SqlLedger
    pump: Pump


class RunningLedger:
    """A ledger service on threads of this process: one for each queue of the database."""

    def __init__(self, settings: Settings, mishaps: Sequence[Mishap]) -> None:
        self._settings = settings
        self._mishaps = mishaps
        self._lock = threading.Lock()
        self._served: dict[int, _Served] = {}
        self._stopped = False
        self._known = sharding.queues(settings.ledger)
        self._serve_all(sharding.owners(settings.ledger))

    @property
    def running(self) -> bool:
        """Whether every loop is alive; they end only by `stop` or by a defect."""
        return all(served.pump.running for served in list(self._served.values()))

    def stop(self) -> None:
        """Stop serving; what was not answered goes back to the queues."""
        with self._lock:
            self._stopped = True
        for served in self._served.values():
            served.pump.stop()
            served.ledger.close()

    def _serve_all(self, owners: tuple[int, ...]) -> None:
        """Serve every queue that keeps something, or did; a promotion may have found new ones."""
        with self._lock:
            for queue in sorted({*owners, *self._known} - self._served.keys()):
                if not self._stopped:
                    self._served[queue] = self._serve(queue, owners)

    def _serve(self, queue: int, owners: tuple[int, ...]) -> _Served:
        settings = self._settings
        allowed = Allowed(settings.foreign)
        limits = Limits(max_deliveries=settings.max_deliveries, refuses=allowed.refuses)
        ledger = SqlLedger(settings.ledger, queue=queue, limits=limits)
        name = f"resonate_amqp ledger {queue}"
        broker = open_broker(settings.url, heartbeat_s=settings.heartbeat, name=name)
        service = LedgerService(
            ledger,
            broker,
            SystemClock(),
            SystemRandom(),
            armed(self._mishaps, broker),
            queue=queue,
            owners=owners,
            learned=self._serve_all,
            terms=terms_of(settings),
        )
        return _Served(ledger, Pump(broker, service, f"resonate-ledger-{queue}"))


def terms_of(settings: Settings) -> Terms:
    """What a ledger service needs of the settings."""
    return Terms(
        queue_type=settings.queue_type,
        declare=settings.topology == "declare",
        backstop_ms=round(settings.backstop * 1000),
        hold_max_ms=round(settings.hold_max * 1000),
    )


def start_ledger(settings: Settings, mishaps: Sequence[Mishap] = ()) -> RunningLedger:
    """Prepare the database and serve it over RabbitMQ.

    Raises SchemaError or LedgerUnavailable when the database cannot be used; a broker that is
    not there yet is waited for.
    """
    if schema.prepare(settings.ledger):
        log.warning("ledger %s was empty: it knows no promise", shown(settings.ledger))
    else:
        log.info("ledger %s opened", shown(settings.ledger))
    return RunningLedger(settings, mishaps)
