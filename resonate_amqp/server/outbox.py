"""Outbox: executes from their commit to the broker's confirm.

A row of the ledger's outbox table stays until the broker has the message. Every physical publish
is a message of its own and draws its own ticket; each after the first is marked `repeat`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace

from resonate_amqp.core.batch import Execute
from resonate_amqp.core.requests import TaskHalt
from resonate_amqp.errors import UsageError
from resonate_amqp.ports import Broker, Random
from resonate_amqp.wire.address import is_foreign, queue_of
from resonate_amqp.wire.envelope import ExecuteMessage, encode_execute
from resonate_amqp.wire.foreign import message_for
from resonate_amqp.wire.topology import target_queue

log = logging.getLogger(__name__)

FIRST_WAIT_MS = 200
LONGEST_WAIT_MS = 30_000
TELL_AGAIN_MS = 60_000
MOST_TOLD = 1_000
TOO_LARGE = "its execute exceeds the broker's max_message_size; raise that limit and redrive it"


@dataclass(frozen=True, slots=True)
class _Row:
    execute: Execute
    publishes: int = 0
    wait_ms: int = FIRST_WAIT_MS
    doubtful: bool = False
    """Whether the broker may have an earlier one, which nobody confirmed."""
    due_at: int = 0
    """When to publish again (monotonic ms); 0 while the broker's answer is awaited."""


class Outbox:
    """The rows that this ledger has published, or is to publish, without a confirm yet."""

    def __init__(
        self, broker: Broker, random: Random, queue_type: str, declare: bool, address: str
    ) -> None:
        """`address` is the ledger's own queue, where replies of foreign callees are to go."""
        self._broker = broker
        self._address = address
        self._random = random
        self._queue_type = queue_type
        self._declare = declare
        self._missing_told: dict[str, int] = {}
        self._rows: dict[int, _Row] = {}
        self._serials: dict[str, int] = {}
        self._confirmed: list[int] = []
        self._urgent = False
        self._unsendable: list[TaskHalt] = []

    def clear(self) -> None:
        """Forget everything: another ledger is responsible, or everything is loaded again."""
        self._rows.clear()
        self._serials.clear()
        self._confirmed.clear()
        self._urgent = False
        self._unsendable.clear()

    def publish(self, executes: Iterable[Execute], now: int) -> None:
        for execute in executes:
            repeat = execute.repeat
            self._send(_Row(execute, publishes=1 if repeat else 0, doubtful=repeat), now)

    def void(self, tasks: Iterable[str]) -> None:
        """Forget the rows of these tasks: they were deleted when the task was acquired."""
        for task_id in tasks:
            self._rows.pop(self._serials.pop(task_id, 0), None)

    def confirmed(self, serials: Iterable[int]) -> None:
        """The broker has these messages; what is unknown here was confirmed or void before."""
        for serial in serials:
            row = self._rows.pop(serial, None)
            if row is not None:
                self._serials.pop(row.execute.promise.id, None)
                self._confirmed.append(serial)
                self._urgent |= is_foreign(row.execute.target)

    def take_confirmed(self) -> list[int]:
        """Serials whose rows may be deleted; each is answered once."""
        taken, self._confirmed = self._confirmed, []
        self._urgent = False
        return taken

    def has_confirmed(self) -> bool:
        return bool(self._confirmed)

    def unconfirmed(self, serials: Iterable[int], unroutable: str, clock: int) -> None:
        """Publish again, later; a queue that is gone is created first. `clock` is monotonic ms."""
        for serial in serials:
            row = self._rows.get(serial)
            if row is None:
                continue
            if unroutable:
                self._missing(row.execute.target, clock)
            wait_ms = min(2 * row.wait_ms, LONGEST_WAIT_MS)
            due_at = clock + row.wait_ms
            self._rows[serial] = replace(
                row, due_at=due_at, wait_ms=wait_ms, doubtful=not unroutable
            )

    def oversized(self, serials: Iterable[int]) -> None:
        """The broker takes no message as large as these: their tasks are to be halted."""
        for serial in serials:
            row = self._rows.pop(serial, None)
            if row is not None:
                self._halt(row.execute.promise.id, TOO_LARGE)

    def take_unsendable(self) -> list[TaskHalt]:
        """The tasks to be halted; each is answered once."""
        taken, self._unsendable = self._unsendable, []
        return taken

    def urgent(self) -> bool:
        """Whether the next transaction is not to wait for a request.

        Until its row is deleted, a call to a foreign queue would be sent again by a new ledger,
        and done twice there.
        """
        return self._urgent or bool(self._unsendable)

    def _halt(self, task_id: str, reason: str) -> None:
        self._serials.pop(task_id, None)
        self._unsendable.append(TaskHalt(id=task_id, reason=reason))

    def _missing(self, target: str, clock: int) -> None:
        if is_foreign(target):
            self._tell_missing(target, clock, f"start what consumes it, or correct {target}")
        elif self._declare:
            self._broker.declare(target_queue(target, self._queue_type))
        else:
            remedy = "with topology=passive it has to be created by an operator"
            self._tell_missing(target, clock, remedy)

    def _tell_missing(self, target: str, clock: int, remedy: str) -> None:
        queue = queue_of(target)
        if clock - self._missing_told.get(queue, -TELL_AGAIN_MS) < TELL_AGAIN_MS:
            return
        if len(self._missing_told) >= MOST_TOLD:
            self._missing_told.clear()
        self._missing_told[queue] = clock
        log.error("tasks wait for %s, which does not exist; %s", queue, remedy)

    def resend_all(self, clock: int) -> None:
        """A new connection: nothing published on the old one will be confirmed."""
        for serial, row in self._rows.items():
            self._rows[serial] = replace(row, due_at=clock, doubtful=True)

    def resend_due(self, clock: int, now: int) -> None:
        due = [row for row in self._rows.values() if 0 < row.due_at <= clock]
        for row in due:
            self._send(row, now)

    def next_due(self) -> int | None:
        """The monotonic ms at which a row is to be published again."""
        return min((row.due_at for row in self._rows.values() if row.due_at), default=None)

    def _send(self, row: _Row, now: int) -> None:
        if is_foreign(row.execute.target):
            self._send_away(row, now)
            return
        execute = row.execute
        message = ExecuteMessage(
            promise=execute.promise,
            version=execute.version,
            ticket=self._random.token(),
            repeat=row.publishes > 0,
            now=now,
        )
        self._sent(row)
        self._broker.publish(
            queue_of(execute.target),
            encode_execute(message),
            persistent=True,
            mandatory=True,
            token=execute.serial,
        )

    def _send_away(self, row: _Row, now: int) -> None:
        """Publish to a queue that is not ours, in the words of whoever reads it."""
        execute = row.execute
        try:
            message = message_for(
                execute.target, execute.promise, execute.version, now, self._address
            )
        except UsageError as error:
            self._rows.pop(execute.serial, None)
            self._halt(execute.promise.id, f"it cannot be sent to {execute.target}: {error}")
            return
        if row.doubtful and not execute.version:
            log.warning(
                "the call %s is sent to %s again: it may arrive there twice, with the same id",
                execute.promise.id,
                queue_of(execute.target),
            )
        self._sent(row)
        self._broker.publish(
            queue_of(execute.target),
            message.body,
            persistent=True,
            mandatory=True,
            token=execute.serial,
            reply_to=message.reply_to,
            properties=message.properties,
        )

    def _sent(self, row: _Row) -> None:
        serial = row.execute.serial
        self._rows[serial] = replace(row, publishes=row.publishes + 1, due_at=0)
        self._serials[row.execute.promise.id] = serial
