"""A ledger service of its own: database, broker and loop, joined."""

from __future__ import annotations

import logging

from resonate_amqp.core.effects import Limits
from resonate_amqp.ledgers import schema
from resonate_amqp.ledgers.database import shown
from resonate_amqp.ledgers.sql import SqlLedger
from resonate_amqp.resonate.embedded import open_broker
from resonate_amqp.resonate.machine import NoFailpoints, Pump, SystemClock, SystemRandom
from resonate_amqp.server.service import LedgerService
from resonate_amqp.settings import Settings

log = logging.getLogger(__name__)


class RunningLedger:
    """A ledger service on a thread of this process."""

    def __init__(self, ledger: SqlLedger, service: LedgerService, pump: Pump) -> None:
        self._ledger = ledger
        self._service = service
        self._pump = pump

    @property
    def running(self) -> bool:
        """Whether its loop is alive; it ends only by `stop` or by a defect."""
        return self._pump.running

    def stop(self) -> None:
        """Stop serving; what was not answered goes back to the queue."""
        self._pump.stop()
        self._ledger.close()


def start_ledger(settings: Settings) -> RunningLedger:
    """Prepare the database and serve it over RabbitMQ.

    Raises SchemaError or LedgerUnavailable when the database cannot be used; a broker that is
    not there yet is waited for.
    """
    if schema.prepare(settings.ledger):
        log.warning("ledger %s was empty: it knows no promise", shown(settings.ledger))
    else:
        log.info("ledger %s opened", shown(settings.ledger))
    ledger = SqlLedger(settings.ledger, limits=Limits(max_deliveries=settings.max_deliveries))
    broker = open_broker(settings.url, heartbeat_s=settings.heartbeat, name="resonate_amqp ledger")
    service = LedgerService(
        ledger,
        broker,
        SystemClock(),
        SystemRandom(),
        NoFailpoints(),
        queue_type=settings.queue_type,
        declare=settings.topology == "declare",
    )
    return RunningLedger(ledger, service, Pump(broker, service, "resonate-ledger"))
