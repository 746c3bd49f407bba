"""MemoryLedger: dictionaries. The ledger of an embedded system, and the oracle of the tests."""

from __future__ import annotations

import itertools

from resonate_amqp.core import machine
from resonate_amqp.core.effects import Limits, Overlay
from resonate_amqp.core.model import Offer, Promise, Task, TaskState, origin_of
from resonate_amqp.core.promises import seen
from resonate_amqp.core.timers import Timer, restarted, timers_of
from resonate_amqp.ledgers.outcome import outcome_of
from resonate_amqp.ports import Backlog, Batch, Execute, Outcome, Unblock


class MemoryLedger:
    """Everything is lost with the object; everything else is as in the SQL ledger."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.promises: dict[str, Promise] = {}
        self.tasks: dict[str, Task] = {}
        self.offers: dict[int, Offer] = {}
        self.now = 0
        self.generation = 0
        self._limits = limits or Limits()
        self._serials = itertools.count(1)
        self._branches: dict[str, list[str]] = {}

    def promise(self, promise_id: str) -> Promise | None:
        return self.promises.get(promise_id)

    def task(self, task_id: str) -> Task | None:
        return self.tasks.get(task_id)

    def settled_children(self, branch: str) -> list[Promise]:
        children = (self.promises[child] for child in self._branches.get(branch, ()))
        return sorted((child for child in children if not child.pending), key=_age)

    def promote(self, clock: int) -> Backlog:
        self.generation += 1
        self.now = max(self.now, clock)
        self._serials = itertools.count((self.generation << 32) + 1)
        executes = [
            Execute(offer.serial, offer.target, self.promises[offer.task_id], offer.version)
            for offer in self.offers.values()
        ]
        unblocks = [
            Unblock(address, promise)
            for promise in self.promises.values()
            if not promise.pending
            for address in promise.listeners
        ]
        return Backlog(tuple(executes), tuple(unblocks))

    def apply(self, batch: Batch, clock: int) -> Outcome:
        self.now = max(self.now, clock)
        state = self._overlay()
        answers, early = machine.batch(
            state, batch.groups, batch.timers, batch.notified, self.now, batch.heard_since
        )
        for serial in batch.confirmed:
            self.offers.pop(serial, None)
        self._store(state)
        return outcome_of(state, answers, early, self.now)

    def restart(self, clock: int) -> Outcome:
        self.now = max(self.now, clock)
        state = self._overlay()
        unfinished = (TaskState.ACQUIRED, TaskState.PENDING)
        for task in sorted(self.tasks.values(), key=lambda task: task.id):
            if task.state in unfinished:
                restarted(state, task.id, self.now)
        self._store(state)
        return outcome_of(state, (), [], self.now)

    def due_before(self, horizon: int, limit: int) -> list[Timer]:
        due = [
            timer
            for promise_id, promise in self.promises.items()
            for timer in timers_of(promise, self.tasks.get(promise_id))
            if timer.at < horizon
        ]
        return sorted(due)[:limit]

    def tree(self, origin: str, limit: int) -> list[tuple[Promise, Task | None]]:
        found = [promise for promise in self.promises.values() if origin_of(promise.id) == origin]
        found.sort(key=_age)
        return [seen(promise, self.tasks.get(promise.id), self.now) for promise in found[:limit]]

    def trial(self) -> None:
        return

    def close(self) -> None:
        return

    def _overlay(self) -> Overlay:
        return Overlay(self, self._serials, self._limits)

    def _store(self, state: Overlay) -> None:
        for promise in state.promises.values():
            if promise.id not in self.promises and promise.branch != promise.id:
                self._branches.setdefault(promise.branch, []).append(promise.id)
        self.promises.update(state.promises)
        self.tasks.update(state.tasks)
        void = [offer.serial for offer in self.offers.values() if offer.task_id in state.withdrawn]
        for serial in void:
            del self.offers[serial]
        self.offers.update({offer.serial: offer for offer in state.offers})


def _age(promise: Promise) -> tuple[int, str]:
    return promise.created_at, promise.id
