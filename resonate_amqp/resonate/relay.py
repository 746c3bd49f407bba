"""Relay: sends the calls that were recorded in a database, in order, and then deletes them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait

from resonate_amqp.errors import Malformed, ResonateError, UsageError
from resonate_amqp.ledgers import calls
from resonate_amqp.ledgers.calls import Engine, Outcome, Recorded
from resonate_amqp.resonate.machine import SystemClock
from resonate_amqp.resonate.node import Node
from resonate_amqp.runtime.silence import Outage
from resonate_amqp.wire.envelope import Reply

log = logging.getLogger(__name__)

BATCH = 100
LOOK_EVERY_S = 0.2
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0


class Relay:
    """Runs on a daemon thread until `stop`; any number of relays may share a table.

    Raises UsageError when the table is missing. A database, broker or ledger that does not
    answer later on is waited for.
    """

    def __init__(self, engine: Engine, node: Callable[[], Node]) -> None:
        self._engine = engine
        self._node = node
        self._stopped = threading.Event()
        self._outage = Outage(SystemClock())
        self._unanswered: BaseException | None = None
        try:
            calls.check_table(engine)
        except UsageError:
            raise
        except ResonateError as error:
            self._tell(error)
        self._thread = threading.Thread(target=self._run, name="resonate-relay", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more; what was not answered stays in the table."""
        self._stopped.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(5)

    def _run(self) -> None:
        wait_s, failures = 0.0, 0
        while not self._stopped.wait(wait_s):
            try:
                found = self._forward()
            except Exception as error:  # whatever it is, the calls are still to be sent
                if not self._stopped.is_set():
                    self._tell(error)
                wait_s = min(FIRST_WAIT_S * 2**failures, LONGEST_WAIT_S)
                failures += 1
                continue
            if self._outage.over():
                log.info("recorded calls are sent again")
            wait_s, failures = (0.0 if found == BATCH else LOOK_EVERY_S), 0

    def _forward(self) -> int:
        self._unanswered = None
        found = calls.forward(self._engine, BATCH, self._send)
        if self._unanswered is not None:
            raise self._unanswered
        return found

    def _send(self, rows: Sequence[Recorded]) -> list[Outcome]:
        """Send every call, all in one message, and wait for the answers."""
        node = self._node()
        asked: list[Future[Reply] | str] = []
        for row in rows:
            try:
                create = row.read()
            except Malformed as error:
                asked.append(str(error))
            else:
                asked.append(node.ask([create], create.id))
        waiting = {one for one in asked if isinstance(one, Future)}
        while waiting and not self._stopped.is_set():
            waiting = wait(waiting, LOOK_EVERY_S).not_done
        return [self._outcome(row, one) for row, one in zip(rows, asked, strict=True)]

    def _outcome(self, row: Recorded, asked: Future[Reply] | str) -> Outcome:
        if isinstance(asked, str):
            refused = asked
        elif not asked.done():
            return None
        elif (error := asked.exception()) is not None:
            self._unanswered = error
            return None
        else:
            response = asked.result().responses[0]
            if response.ok:
                return ""
            refused = response.error or f"status {response.status}"
        log.error("call %r was refused, and is kept with the reason: %s", row.id, refused)
        return refused

    def _tell(self, error: BaseException) -> None:
        if not isinstance(error, ResonateError):
            log.error("recorded calls cannot be sent", exc_info=error)
        elif self._outage.tells():
            log.warning("recorded calls wait: %s", error)
