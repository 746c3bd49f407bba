"""Awaited: the promises one body has registered for, and what is heard of them meanwhile."""

from __future__ import annotations

from collections.abc import Iterable

from resonate_amqp.core.model import Promise
from resonate_amqp.errors import ResonateError
from resonate_amqp.runtime.listeners import Heard, Listeners


class Awaited:
    """`heard` is told of each promise once; the ledger was asked by a group of the body's own."""

    def __init__(self, listeners: Listeners, heard: Heard) -> None:
        self._listeners = listeners
        self._heard = heard
        self._ids: set[str] = set()
        self._late: list[Promise | ResonateError] = []

    def add(self, promise_id: str) -> None:
        if promise_id in self._ids:
            return
        self._ids.add(promise_id)
        self._listeners.add(promise_id, self._heard, registered=True)

    def known(self, promise: Promise) -> None:
        """A record was seen: a settled one need not be heard of any more."""
        if not promise.pending and promise.id in self._ids:
            self._ids.discard(promise.id)
            self._listeners.remove(promise.id, self._heard)

    def among(self, promise_ids: Iterable[str]) -> list[str]:
        """Those of these promises that are registered for."""
        return [promise_id for promise_id in promise_ids if promise_id in self._ids]

    def defer(self, outcome: Promise | ResonateError) -> None:
        """Keep what was heard while it is not known whether the body goes on here."""
        self._late.append(outcome)

    def late(self) -> list[Promise | ResonateError]:
        """What was kept, once."""
        late, self._late = self._late, []
        return late

    def close(self) -> None:
        """Register for nothing any more."""
        for promise_id in self._ids:
            self._listeners.remove(promise_id, self._heard)
        self._ids.clear()
