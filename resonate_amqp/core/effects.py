"""What a transition reads from and writes to: a view below, an overlay above.

A ledger gives the overlay a view of what is stored, runs transitions on the overlay, and stores
its changes in one transaction. No transition sees anything but the overlay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from resonate_amqp.core.model import Offer, Promise, Schedule, Task

PRELOAD_BYTES = 256 * 1024
PRELOAD_MOST = 1_000


class View(Protocol):
    """The stored records, as of the last commit."""

    def promise(self, promise_id: str) -> Promise | None: ...

    def task(self, task_id: str) -> Task | None: ...

    def settled_children(self, branch: str) -> list[Promise]:
        """Settled promises that the task `branch` issued, oldest first.

        More than PRELOAD_MOST need not be answered, but then PRELOAD_MOST + 1 are.
        """
        ...

    def pending_children(self, branch: str) -> list[str]:
        """The ids of pending promises that the task `branch` issued."""
        ...

    def schedule(self, schedule_id: str) -> Schedule | None: ...

    def next_tick(self, cron: str, after: int) -> int | None:
        """The first tick after an instant; None when there is none, or the cron is not valid."""
        ...


def anywhere(_target: str) -> str:
    """Refuses no target."""
    return ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the machine: how often a task may be taken over without progress, and why
    nothing is created for a target; empty for one that may be."""

    max_deliveries: int = 10
    refuses: Callable[[str], str] = anywhere


@dataclass(slots=True)
class Overlay:
    """A batch's own state: reads fall through to the view, writes stay here until stored.

    `promises` and `tasks` map each written id to its record; `offers` are new outbox rows,
    `withdrawn` the ids of tasks whose older rows are void; `unblocks` are pairs of a settled
    promise and a listener's address. `taken` maps a target to when the youngest of the executes
    that were taken from its queue was offered (epoch ms); `mirrors` are the ids of new mirrors,
    and of those that were canceled. `schedules` maps each written id to its schedule, or to None
    when it was deleted. `serials` numbers the outbox rows.
    """

    view: View
    serials: Iterator[int]
    limits: Limits = Limits()
    promises: dict[str, Promise] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    offers: list[Offer] = field(default_factory=list)
    withdrawn: set[str] = field(default_factory=set)
    unblocks: list[tuple[str, str]] = field(default_factory=list)
    taken: dict[str, int] = field(default_factory=dict)
    mirrors: list[str] = field(default_factory=list)
    schedules: dict[str, Schedule | None] = field(default_factory=dict)

    def promise(self, promise_id: str) -> Promise | None:
        written = self.promises.get(promise_id)
        return written if written is not None else self.view.promise(promise_id)

    def task(self, task_id: str) -> Task | None:
        written = self.tasks.get(task_id)
        return written if written is not None else self.view.task(task_id)

    def schedule(self, schedule_id: str) -> Schedule | None:
        if schedule_id in self.schedules:
            return self.schedules[schedule_id]
        return self.view.schedule(schedule_id)

    def put(self, promise: Promise) -> None:
        self.promises[promise.id] = promise

    def put_task(self, task: Task) -> None:
        self.tasks[task.id] = task

    def put_schedule(self, schedule: Schedule) -> None:
        self.schedules[schedule.id] = schedule

    def offer(self, task: Task, target: str, *, repeat: bool = False) -> None:
        """Write an outbox row for the task's present version; a pending one has no other."""
        self.offers.append(Offer(next(self.serials), task.id, task.version, target, repeat))

    def withdraw(self, task_id: str) -> None:
        self.withdrawn.add(task_id)
        if self.offers:
            self.offers = [offer for offer in self.offers if offer.task_id != task_id]

    def take(self, target: str, offered_at: int) -> None:
        """Note that an execute offered at that instant has come out of its queue."""
        self.taken[target] = max(self.taken.get(target, 0), offered_at)

    def notified(self, promise_id: str, address: str) -> None:
        """Forget a listener whose unblock was published; one of a pending promise stays."""
        promise = self.promise(promise_id)
        if promise is not None and not promise.pending and address in promise.listeners:
            left = tuple(known for known in promise.listeners if known != address)
            self.put(promise.but(listeners=left))

    def pending_children(self, branch: str) -> list[str]:
        """The ids of promises that the task `branch` issued and that may be pending."""
        written = [one.id for one in self.promises.values() if one.branch == branch != one.id]
        return list(dict.fromkeys((*self.view.pending_children(branch), *written)))

    def preload(self, branch: str) -> tuple[tuple[Promise, ...], bool]:
        """Settled children of a task, oldest first, and whether there are more.

        As many as PRELOAD_BYTES of values and PRELOAD_MOST promises allow.
        """
        children = {child.id: child for child in self.view.settled_children(branch)}
        for promise in self.promises.values():
            if promise.branch == branch and promise.id != branch and not promise.pending:
                children[promise.id] = promise
        return within(children.values())


def within(promises: Iterable[Promise]) -> tuple[tuple[Promise, ...], bool]:
    """The first of these, as many as an answer may carry, and whether there are more."""
    chosen: list[Promise] = []
    size = 0
    for promise in promises:
        size += len(promise.param.data) + len(promise.value.data)
        if chosen and (size > PRELOAD_BYTES or len(chosen) == PRELOAD_MOST):
            return tuple(chosen), True
        chosen.append(promise)
    return tuple(chosen), False
