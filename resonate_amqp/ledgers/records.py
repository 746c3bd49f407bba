"""The SQL ledger's view: records loaded in bulk, kept between batches while they may be trusted.

Only the promoted ledger writes, and its first statement of every transaction proves that it
still is; so a record that was loaded or stored stays true until that proof fails.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.sql import Select

from resonate_amqp.core.effects import PRELOAD_MOST, Overlay
from resonate_amqp.core.model import Promise, Schedule, Task
from resonate_amqp.ledgers import schedules
from resonate_amqp.ledgers.tables import (
    TASK_COLUMNS,
    callbacks,
    listeners,
    promise_of,
    promises,
    task_of,
    tasks,
)
from resonate_amqp.wire import cron as cron_of

KEPT = 20_000
SMALL = 4_096
CHUNK = 500

_task_columns = [tasks.c[name].label("task_" + name) for name in ("id", *TASK_COLUMNS)]
PAIRS: Select[tuple[object, ...]] = select(promises, *_task_columns).select_from(
    promises.outerjoin(tasks, tasks.c.id == promises.c.id)
)
_by_id = PAIRS.where(promises.c.id.in_(bindparam("ids", expanding=True)))
_by_branch = (
    PAIRS.where(
        promises.c.branch == bindparam("branch"),
        promises.c.id != bindparam("branch"),
        promises.c.state != "pending",
    )
    .order_by(promises.c.created_at, promises.c.id)
    .limit(PRELOAD_MOST + 1)
)
_pending_of = select(promises.c.id).where(
    promises.c.branch == bindparam("branch"),
    promises.c.id != bindparam("branch"),
    promises.c.state == "pending",
)
_callbacks_of = select(callbacks).where(callbacks.c.awaited.in_(bindparam("ids", expanding=True)))
_listeners_of = select(listeners).where(listeners.c.awaited.in_(bindparam("ids", expanding=True)))

Record = tuple[Promise | None, Task | None]


class Records:
    """A view over one connection, with the records it knows."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: OrderedDict[str, Record] = OrderedDict()
        self._large: set[str] = set()

    def promise(self, promise_id: str) -> Promise | None:
        return self._record(promise_id)[0]

    def task(self, task_id: str) -> Task | None:
        return self._record(task_id)[1]

    def settled_children(self, branch: str) -> list[Promise]:
        rows = self._connection.execute(_by_branch, {"branch": branch}).mappings().all()
        return [promise_of(row) for row in rows]

    def pending_children(self, branch: str) -> list[str]:
        ids = [row[0] for row in self._connection.execute(_pending_of, {"branch": branch})]
        self.load(ids)
        return ids

    def schedule(self, schedule_id: str) -> Schedule | None:
        return schedules.schedule(self._connection, schedule_id)

    def next_tick(self, cron: str, after: int) -> int | None:
        return cron_of.next_tick(cron, after)

    def load(self, ids: Iterable[str]) -> None:
        """Make the records of these ids known, and those of whoever awaits them."""
        missing = [promise_id for promise_id in dict.fromkeys(ids) if promise_id not in self._known]
        awaiters: list[str] = []
        while missing:
            for start in range(0, len(missing), CHUNK):
                awaiters.extend(self._fetch(missing[start : start + CHUNK]))
            missing = [awaiter for awaiter in dict.fromkeys(awaiters) if awaiter not in self._known]
            awaiters = []

    def keep(self, state: Overlay) -> None:
        """Remember what a stored overlay wrote, and forget what is oldest, or large."""
        for promise in state.promises.values():
            task = self._known.get(promise.id, (None, None))[1]
            self._known[promise.id] = (promise, task)
            self._note_size(promise)
        for task in state.tasks.values():
            self._known[task.id] = (self._known[task.id][0], task)
        for promise_id in self._large:
            self._known.pop(promise_id, None)
        self._large.clear()
        while len(self._known) > KEPT:
            self._known.popitem(last=False)

    def forget(self) -> None:
        """Trust nothing that was loaded before."""
        self._known.clear()
        self._large.clear()

    def _note_size(self, promise: Promise) -> None:
        if len(promise.param.data) + len(promise.value.data) > SMALL:
            self._large.add(promise.id)

    def _record(self, promise_id: str) -> Record:
        record = self._known.get(promise_id)
        if record is None:
            self.load((promise_id,))
            record = self._known[promise_id]
        return record

    def _fetch(self, ids: Sequence[str]) -> list[str]:
        """Load records by id; answers the awaiters of those that are pending."""
        execute = self._connection.execute
        rows = execute(_by_id, {"ids": list(ids)}).mappings().all()
        found: dict[str, Record] = {}
        for row in rows:
            task = task_of(row, "task_") if row["task_id"] is not None else None
            found[row["id"]] = (promise_of(row), task)
        related = [promise_id for promise_id, record in found.items() if record[0] is not None]
        awaiters: dict[str, list[str]] = defaultdict(list)
        addresses: dict[str, list[str]] = defaultdict(list)
        if related:
            for awaited, awaiter in execute(_callbacks_of, {"ids": related}):
                awaiters[awaited].append(awaiter)
            for awaited, address in execute(_listeners_of, {"ids": related}):
                addresses[awaited].append(address)
        for promise_id in ids:
            promise, task = found.get(promise_id, (None, None))
            if promise is not None and (promise_id in awaiters or promise_id in addresses):
                promise = promise.but(
                    callbacks=tuple(sorted(awaiters[promise_id])),
                    listeners=tuple(sorted(addresses[promise_id])),
                )
            self._known[promise_id] = (promise, task)
            if promise is not None:
                self._note_size(promise)
        return [awaiter for names in awaiters.values() for awaiter in names]
