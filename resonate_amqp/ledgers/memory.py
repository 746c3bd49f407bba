"""MemoryLedger: dictionaries. The ledger of an embedded system, and the oracle of the tests."""

from __future__ import annotations

from collections.abc import Iterator

from resonate_amqp.core import machine
from resonate_amqp.core.batch import Backlog, Batch, Execute, Outcome, Unblock
from resonate_amqp.core.effects import Limits, Overlay
from resonate_amqp.core.model import Offer, Promise, Schedule, Task, TaskState, origin_of
from resonate_amqp.core.pages import START, Cursor, by_age, by_state, since
from resonate_amqp.core.promises import seen
from resonate_amqp.core.requests import PromiseSearch, TaskSearch
from resonate_amqp.core.timers import Timer, restarted, timers_of, timers_of_schedule
from resonate_amqp.ledgers.outcome import outcome_of
from resonate_amqp.ledgers.timers import SortedTimers
from resonate_amqp.wire import cron as cron_of

SERIALS = 1 << 40
"""How many outbox rows a generation may number."""


class MemoryLedger:
    """Everything is lost with the object; everything else is as in the SQL ledger."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.promises: dict[str, Promise] = {}
        self.tasks: dict[str, Task] = {}
        self.offers: dict[int, Offer] = {}
        self.schedules: dict[str, Schedule] = {}
        self.now = 0
        self.generation = 0
        self._limits = limits or Limits()
        self._serials = iter(range(1, SERIALS))
        self._branches: dict[str, list[str]] = {}
        self._offers_of: dict[str, list[int]] = {}
        self._timers = SortedTimers()

    def promise(self, promise_id: str) -> Promise | None:
        return self.promises.get(promise_id)

    def task(self, task_id: str) -> Task | None:
        return self.tasks.get(task_id)

    def settled_children(self, branch: str) -> list[Promise]:
        children = (self.promises[child] for child in self._branches.get(branch, ()))
        return sorted((child for child in children if not child.pending), key=_age)

    def pending_children(self, branch: str) -> list[str]:
        return [child for child in self._branches.get(branch, ()) if self.promises[child].pending]

    def schedule(self, schedule_id: str) -> Schedule | None:
        return self.schedules.get(schedule_id)

    def next_tick(self, cron: str, after: int) -> int | None:
        return cron_of.next_tick(cron, after)

    def promote(self, clock: int) -> Backlog:
        self.generation += 1
        self.now = max(self.now, clock)
        first = self.generation * SERIALS
        self._serials = iter(range(first + 1, first + SERIALS))
        executes = [
            Execute(offer.serial, offer.target, self.promises[offer.task_id], offer.version, True)
            for offer in self.offers.values()
        ]
        unblocks = [
            Unblock(address, promise)
            for promise in self.promises.values()
            if not promise.pending
            for address in promise.listeners
        ]
        mirrors = [one for one in self.promises.values() if one.pending and one.mirror]
        return Backlog(tuple(executes), tuple(unblocks), tuple(mirrors), now=self.now)

    def apply(self, batch: Batch, clock: int) -> Outcome:
        self.now = max(self.now, clock)
        state = self._overlay()
        answers, early = machine.batch(
            state,
            batch.groups,
            batch.timers,
            batch.notified,
            batch.mirrored,
            batch.halts,
            self.now,
            batch.heard_since,
        )
        for serial in batch.confirmed:
            self._drop_offer(serial)
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
        return self._timers.before(horizon, limit)

    def tree(
        self, origin: str, limit: int, cursor: Cursor = START
    ) -> list[tuple[Promise, Task | None]]:
        of_it = [promise for promise in self.promises.values() if origin_of(promise.id) == origin]
        return self._oldest(of_it, limit, cursor)

    def search(self, query: TaskSearch) -> list[tuple[Promise, Task | None]]:
        found: list[tuple[Promise, Task]] = []
        for state in query.states:
            of_it = [(self.promises[task.id], task) for task in self._in(state, query)]
            found.extend(sorted(of_it, key=lambda pair: by_state(*pair).place))
        cursor = query.cursor
        if cursor is not None and cursor.state is not None:
            order = query.states.index
            last = (order(cursor.state), cursor.place)
            found = [
                (promise, task)
                for promise, task in found
                if (order(task.state), by_state(promise, task).place) > last
            ]
        return list(found[: query.limit])

    def _in(self, state: TaskState, query: TaskSearch) -> Iterator[Task]:
        """The tasks in a state that a query asks for, in no order."""
        for task in self.tasks.values():
            if task.state is not state or (state is TaskState.PENDING and not task.offered):
                continue
            known = since(task)
            timely = known is None or query.after <= known < query.before
            done = state is TaskState.FULFILLED
            if timely and (done or self.promises[task.id].timeout_at > self.now):
                yield task

    def tagged(self, query: PromiseSearch) -> list[tuple[Promise, Task | None]]:
        of_it = [one for one in self.promises.values() if one.tags.get(query.name) == query.value]
        return self._oldest(of_it, query.limit, query.cursor or START)

    def timetable(self, limit: int, cursor: Cursor = START) -> list[Schedule]:
        ids = sorted(known for known in self.schedules if known > cursor.id)
        return [self.schedules[schedule_id] for schedule_id in ids[:limit]]

    def _oldest(
        self, promises: list[Promise], limit: int, cursor: Cursor
    ) -> list[tuple[Promise, Task | None]]:
        promises.sort(key=lambda one: by_age(one).place)
        after = [one for one in promises if by_age(one).place > cursor.place]
        return [seen(one, self.tasks.get(one.id), self.now) for one in after[:limit]]

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
        for task_id in state.withdrawn:
            for serial in self._offers_of.pop(task_id, ()):
                self.offers.pop(serial, None)
        for offer in state.offers:
            self.offers[offer.serial] = offer
            self._offers_of.setdefault(offer.task_id, []).append(offer.serial)
        # A task may change without its promise, and a promise has a task or none.
        for changed in state.promises.keys() | state.tasks.keys():
            timers = timers_of(self.promises.get(changed), self.tasks.get(changed))
            self._timers.replace(changed, timers)
        for schedule_id, schedule in state.schedules.items():
            self._timers.replace(("schedule", schedule_id), timers_of_schedule(schedule))
            if schedule is not None:
                self.schedules[schedule_id] = schedule
            else:
                self.schedules.pop(schedule_id, None)

    def _drop_offer(self, serial: int) -> None:
        offer = self.offers.pop(serial, None)
        if offer is not None:
            left = self._offers_of[offer.task_id]
            left.remove(serial)
            if not left:
                del self._offers_of[offer.task_id]


def _age(promise: Promise) -> tuple[int, str]:
    return promise.created_at, promise.id
