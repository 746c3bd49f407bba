"""Pages: where the answer to a query ended, so that the next one goes on from there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resonate_amqp.core.model import Promise, Schedule, Task, TaskState

EARLIEST = -(2**63)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last record of a page, by what its query is ordered by.

    `at` is an instant in epoch ms. `state` is that of a task where tasks are listed state by state.
    """

    at: int
    id: str
    state: TaskState | None = None

    @property
    def place(self) -> tuple[int, str]:
        """What the records of the next page come after."""
        return self.at, self.id


START = Cursor(EARLIEST, "")
"""The cursor of a first page."""


def since(task: Task) -> int | None:
    """Since when a task is in its state, where that is recorded."""
    match task.state:
        case TaskState.PENDING:
            return task.retry_at
        case TaskState.ACQUIRED:
            return task.acquired_at
        case _:
            return None


def by_age(promise: Promise) -> Cursor:
    """Where a promise stands among those that are listed oldest first."""
    return Cursor(promise.created_at, promise.id)


def by_state(promise: Promise, task: Task) -> Cursor:
    """Where a task stands among those of its state: longest in it first."""
    known = since(task)
    return Cursor(promise.created_at if known is None else known, promise.id, task.state)


def standing(
    states: Sequence[TaskState], promise: Promise, task: Task
) -> tuple[int, tuple[int, str]]:
    """Where a task stands in a listing state by state; one in none of the states comes last."""
    known = task.state in states
    return states.index(task.state) if known else len(states), by_state(promise, task).place


def by_id(schedule: Schedule) -> Cursor:
    """Where a schedule stands among all."""
    return Cursor(EARLIEST, schedule.id)
