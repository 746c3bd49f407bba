"""Listeners: the promises this process waits to hear of.

An unblock is only a hint, so every registration is made again: at once on a new reply queue, and
every 30 s, doubling to 5 min.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from resonate_amqp.core.model import Promise
from resonate_amqp.core.requests import PromiseRegisterListener
from resonate_amqp.errors import LedgerError, ResonateError
from resonate_amqp.ports import Clock
from resonate_amqp.runtime.alarms import Alarm, Alarms
from resonate_amqp.runtime.calls import Calls
from resonate_amqp.wire.envelope import Reply

FIRST_WAIT_MS = 30_000
LONGEST_WAIT_MS = 300_000

Heard = Callable[[Promise | ResonateError], None]
"""Told the settled promise, or that the ledger refuses to tell."""


@dataclass(slots=True, eq=False)
class _Listened:
    heard: list[Heard] = field(default_factory=list)
    wait_ms: int = FIRST_WAIT_MS
    again: Alarm | None = None
    asking: str = ""


class Listeners:
    """Promise ids, who here waits for each, and when to ask again."""

    def __init__(self, calls: Calls, clock: Clock, alarms: Alarms) -> None:
        self._calls = calls
        self._clock = clock
        self._alarms = alarms
        self._listened: dict[str, _Listened] = {}

    def add(self, promise_id: str, heard: Heard, *, registered: bool) -> None:
        """Call `heard` once; `registered` when the ledger has been asked by a group already."""
        listened = self._listened.get(promise_id)
        if listened is None:
            listened = self._listened[promise_id] = _Listened()
            if registered:
                self._arm(promise_id, listened)
            else:
                self._ask(promise_id)
        listened.heard.append(heard)

    def remove(self, promise_id: str, heard: Heard) -> None:
        listened = self._listened.get(promise_id)
        if listened is not None and heard in listened.heard:
            listened.heard.remove(heard)
            if not listened.heard:
                self._end(promise_id)

    def take(self, promise: Promise) -> None:
        """A settled promise was heard of, by an unblock or an answer."""
        if promise.pending or promise.id not in self._listened:
            return
        for heard in self._end(promise.id):
            heard(promise)

    def ask_all(self) -> None:
        """There is a new reply queue, which the ledger knows nothing of."""
        for promise_id in self._listened:
            self._ask(promise_id)

    def _ask(self, promise_id: str) -> None:
        listened = self._listened.get(promise_id)
        if listened is None:
            return
        if listened.asking:
            self._calls.drop(listened.asking)
        step = PromiseRegisterListener(awaited=promise_id, address="")
        listened.asking = self._calls.send(
            [step], lambda reply: self._answered(promise_id, reply), about=promise_id
        )

    def _answered(self, promise_id: str, reply: Reply | ResonateError) -> None:
        listened = self._listened.get(promise_id)
        if listened is None:
            return
        listened.asking = ""
        if isinstance(reply, ResonateError):
            return
        response = reply.responses[0]
        if response.promise is not None:
            self.take(response.promise)
            self._arm(promise_id, listened)
        elif response.status in (404, 422):
            for heard in self._end(promise_id):
                heard(LedgerError(response.error))
        else:
            self._arm(promise_id, listened)

    def _arm(self, promise_id: str, listened: _Listened) -> None:
        if promise_id not in self._listened:
            return
        if listened.again is not None:
            listened.again.cancel()
        due = self._clock.monotonic() + listened.wait_ms
        listened.wait_ms = min(2 * listened.wait_ms, LONGEST_WAIT_MS)
        listened.again = self._alarms.at(due, lambda: self._ask(promise_id), routine=True)

    def _end(self, promise_id: str) -> list[Heard]:
        listened = self._listened.pop(promise_id)
        if listened.again is not None:
            listened.again.cancel()
        if listened.asking:
            self._calls.drop(listened.asking)
        return listened.heard
