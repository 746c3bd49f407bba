"""What is stuck: tasks that wait longer than they should, and what each of them waits for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from resonate_amqp.core.model import Promise, Task, TaskState
from resonate_amqp.wire.address import CELERY, is_foreign, queue_of

STATES = (TaskState.HALTED, TaskState.PENDING, TaskState.ACQUIRED)
"""The worst first."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """One task; `since` is epoch ms and None where it is not recorded."""

    id: str
    state: TaskState
    function: str
    since: int | None
    waits_for: str


def explain(found: Iterable[tuple[Promise, Task | None]]) -> list[Stuck]:
    """What each of these tasks waits for: the worst state first, in it what waits longest."""
    stuck = [
        Stuck(
            id=promise.id,
            state=task.state,
            function=promise.param.headers.get("func", ""),
            since=_since(task),
            waits_for=_waits_for(promise, task),
        )
        for promise, task in found
        if task is not None and promise.pending and task.state in STATES
    ]
    return sorted(stuck, key=lambda one: (STATES.index(one.state), one.since or 0))


def _since(task: Task) -> int | None:
    match task.state:
        case TaskState.PENDING:
            return task.retry_at
        case TaskState.ACQUIRED:
            return task.acquired_at
        case _:
            return None


def _waits_for(promise: Promise, task: Task) -> str:
    match task.state:
        case TaskState.HALTED:
            return f"somebody to redrive it: {task.reason or 'no reason was given'}"
        case TaskState.PENDING:
            queue = queue_of(promise.target)
            if is_foreign(promise.target) and not task.version:
                return (
                    f"whoever takes it from {queue} to answer (a Celery worker whose "
                    "accept_content lacks json has discarded it)"
                    if promise.target.startswith(f"{CELERY}://")
                    else f"whoever takes it from {queue} to answer"
                )
            return f"a worker that takes it from {queue}"
        case _:
            return f"its holder {task.pid}"
