"""Transitions the ledger takes by itself when an instant has come.

A timer means "not before": each of them checks again that it is due, so late, early and double
firings are harmless.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from resonate_amqp.core import leases, promises, schedules
from resonate_amqp.core.effects import Overlay
from resonate_amqp.core.model import Promise, Schedule, Task, TaskState


class TimerKind(StrEnum):
    """What is due: a promise's deadline, a lease's end, a pending task's offer, or one anew; or a
    schedule's tick."""

    DEADLINE = "deadline"
    LEASE = "lease"
    RETRY = "retry"
    BACKSTOP = "backstop"
    SCHEDULE = "schedule"


@dataclass(frozen=True, slots=True, order=True)
class Timer:
    """Something to look at, not before `at` (epoch ms)."""

    at: int
    kind: TimerKind
    id: str


def timers_of(promise: Promise | None, task: Task | None) -> list[Timer]:
    """The timers a promise and its task need; internal promises expire when they are read."""
    timers = []
    if promise is not None and promise.pending and promise.external:
        timers.append(Timer(promise.timeout_at, TimerKind.DEADLINE, promise.id))
    if task is None:
        return timers
    if task.state is TaskState.ACQUIRED and task.expires_at is not None:
        timers.append(Timer(task.expires_at, TimerKind.LEASE, task.id))
    if task.state is TaskState.PENDING and not task.offered and task.retry_at is not None:
        timers.append(Timer(task.retry_at, TimerKind.RETRY, task.id))
    return timers


def timers_of_schedule(schedule: Schedule | None) -> list[Timer]:
    """The timer a schedule needs: of its next tick, unless it is paused or has none."""
    if schedule is None or schedule.paused or schedule.next_at is None:
        return []
    return [Timer(schedule.next_at, TimerKind.SCHEDULE, schedule.id)]


def fire(state: Overlay, timer: Timer, now: int, heard_since: int) -> Timer | None:
    """Take the transition a timer stands for if it is due; else answer when to look again.

    `heard_since` is since when the ledger could hear holders without a gap: a lease expires only
    after its holder could have refreshed it for a whole ttl, so that an outage of the ledger
    never takes the leases of healthy workers.
    """
    if timer.kind is TimerKind.SCHEDULE:
        next_at = schedules.fire(state, timer.id, now)
        return None if next_at is None else replace(timer, at=next_at)
    promise = promises.live(state, timer.id, now)
    task = state.task(timer.id)
    if promise is None or task is None or not promise.pending:
        return None
    match task.state:
        case TaskState.ACQUIRED if timer.kind is TimerKind.LEASE:
            due_at = max(task.expires_at or 0, heard_since + (task.ttl or 0))
            if due_at > now:
                return Timer(due_at, TimerKind.LEASE, task.id)
            leases.taken_over(state, task, promise, now)
        case TaskState.PENDING if timer.kind is TimerKind.RETRY and not task.offered:
            offered = promises.offer_if_due(state, task, promise.target, now)
            if not offered.offered and task.retry_at is not None:
                return Timer(task.retry_at, TimerKind.RETRY, task.id)
            state.put_task(offered)
        case TaskState.PENDING if timer.kind is TimerKind.BACKSTOP and task.offered:
            promises.offered_again(state, task, promise.target, now)
        case _:
            pass
    return None


def restarted(state: Overlay, task_id: str, now: int) -> None:
    """Offer a task again after every process and every queue of the system was lost together."""
    promise = promises.live(state, task_id, now)
    task = state.task(task_id)
    if promise is None or task is None or not promise.pending:
        return
    if task.state is TaskState.ACQUIRED:
        leases.taken_over(state, task, promise, now)
    elif task.state is TaskState.PENDING:
        state.withdraw(task.id)
        state.put_task(promises.offer_if_due(state, task, promise.target, now))
