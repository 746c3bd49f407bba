"""Doorstep: deliveries that have no body yet, and how they leave again.

A returned message comes back at thousands a second, so what is to be returned is kept first. What
finds no free slot waits here too; nothing stays longer than a delivery may be held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from resonate_amqp.ports import Delivery
from resonate_amqp.runtime.session import Session

RETURN_FIRST_MS = 1_000
RETURN_LONGEST_MS = 30_000


@dataclass(frozen=True, slots=True, eq=False)
class Arrived:
    """A delivery, and when it came (monotonic ms)."""

    delivery: Delivery
    at: int


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    arrived: Arrived
    group: str


class Doorstep:
    """Every instant is monotonic ms."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._asked: dict[str, _Asked] = {}
        self._waiting: deque[Arrived] = deque()
        self._kept: set[Delivery] = set()
        self._waits_ms: dict[str, int] = {}

    def __len__(self) -> int:
        """How many slots are taken by deliveries without a body."""
        return len(self._asked) + len(self._kept)

    @property
    def busy(self) -> bool:
        return bool(self._asked)

    def deliveries(self) -> list[Delivery]:
        """Everything that is here."""
        asked = [one.arrived.delivery for one in self._asked.values()]
        return [*asked, *(one.delivery for one in self._waiting), *self._kept]

    def ask(self, holder: str, arrived: Arrived, group: str) -> None:
        """The ledger was asked about this delivery, by that group."""
        self._asked[holder] = _Asked(arrived, group)

    def answered(self, holder: str) -> Arrived | None:
        """The delivery the ledger was asked about; None when it was lost or returned since."""
        asked = self._asked.pop(holder, None)
        return asked.arrived if asked is not None else None

    def wait(self, arrived: Arrived) -> None:
        """Keep a delivery until a slot is free."""
        self._waiting.append(arrived)

    def next(self) -> Arrived | None:
        """The delivery that has waited longest for a slot."""
        return self._waiting.popleft() if self._waiting else None

    def take(self, wanted: Callable[[Delivery], bool]) -> list[Arrived]:
        """Those that wait and are wanted; they wait no longer."""
        taken = [arrived for arrived in self._waiting if wanted(arrived.delivery)]
        if taken:
            self._waiting = deque(one for one in self._waiting if one not in taken)
        return taken

    def waiting(self) -> bool:
        return bool(self._waiting)

    def keep(self, task_id: str, delivery: Delivery) -> None:
        """Return a delivery, after a while that doubles for each time of this task."""
        wait_ms = self._waits_ms.get(task_id, RETURN_FIRST_MS)
        self._waits_ms[task_id] = min(2 * wait_ms, RETURN_LONGEST_MS)
        self.hold(delivery)
        self._session.later(wait_ms, lambda: self.dismiss(delivery, void=False))

    def hold(self, delivery: Delivery) -> None:
        """Keep a delivery until it is dismissed."""
        self._kept.add(delivery)

    def dismiss(self, delivery: Delivery, *, void: bool) -> None:
        """Acknowledge a delivery that is kept and void, or return it; nothing if it was lost."""
        if delivery in self._kept:
            self._kept.discard(delivery)
            if void:
                self._session.broker.ack([delivery])
            else:
                self._session.broker.give_back(delivery)

    def begun(self, task_id: str) -> None:
        """The task runs here now."""
        self._waits_ms.pop(task_id, None)

    def lost(self, queue: str) -> None:
        """The deliveries of a queue are void."""
        for holder, asked in list(self._asked.items()):
            if asked.arrived.delivery.queue == queue:
                self._session.calls.drop(self._asked.pop(holder).group)
        self._kept = {delivery for delivery in self._kept if delivery.queue != queue}
        self._waiting = deque(one for one in self._waiting if one.delivery.queue != queue)

    def return_waiting(self) -> None:
        """Nothing is started here any more."""
        while self._waiting:
            self._session.broker.give_back(self._waiting.popleft().delivery)

    def return_older(self, than_ms: int) -> None:
        """Return what could not be started for so long."""
        before = self._session.clock.monotonic() - than_ms
        while self._waiting and self._waiting[0].at <= before:
            self._session.broker.give_back(self._waiting.popleft().delivery)
        for holder, asked in list(self._asked.items()):
            if asked.arrived.at <= before:
                self._session.calls.drop(self._asked.pop(holder).group)
                self._session.broker.give_back(asked.arrived.delivery)
