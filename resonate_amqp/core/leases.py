"""Transitions of leases: acquire, move, refresh, release; and what every holder's request needs.

A holder's request may arrive twice, because a group is repeated until it is answered. So each
of them first recognises its own earlier copy, by the holder and version that outlive the lease,
and then answers as it answered then.
"""

from __future__ import annotations

from dataclasses import replace

from resonate_amqp.core import promises
from resonate_amqp.core.effects import Overlay
from resonate_amqp.core.model import Promise, Task, TaskState
from resonate_amqp.core.requests import (
    Response,
    TaskAcquire,
    TaskFence,
    TaskFulfill,
    TaskHeartbeat,
    TaskLease,
    TaskRelease,
    TaskSuspend,
    Verdict,
)

DOUBT_MS = 6_000
"""A holder refreshes its TTL leases thrice in this time."""


def acquire(state: Overlay, request: TaskAcquire, now: int) -> Response:
    """Lease a pending task, or take a dead delivery's lease over.

    A lease may be taken over only by the redelivery of the message it was acquired under: the
    same ticket, flagged by the broker, not older than the one seen before. Then the version
    rises as for any acquisition, whatever version the execute names.
    """
    if not request.holder:
        return nobody(request.id)
    promise = promises.live(state, request.id, now)
    task = state.task(request.id)
    if promise is None or task is None:
        return replace(absent(request.id), verdict=Verdict.ACK)
    if _reacquired(task, request):
        return acquired(state, task, promise)
    match task.state:
        case TaskState.PENDING if task.version == request.version:
            state.take(promise.target, task.retry_at or now)
        case TaskState.ACQUIRED if request.ticket and request.ticket == task.ticket:
            if not request.redelivered or 0 <= request.redeliveries < task.redeliveries:
                return Response(status=409, task=task, error=stands(task), verdict=Verdict.RETURN)
            task = taken_over(state, task, promise, now)
            if task.state is TaskState.HALTED:
                return Response(status=409, task=task, error=stands(task), verdict=Verdict.ACK)
        case _:
            return Response(status=409, task=task, error=stands(task), verdict=Verdict.ACK)
    task = leased(
        state,
        task,
        now,
        pid=request.pid,
        ttl=request.ttl,
        holder=request.holder,
        ticket=request.ticket,
        redeliveries=request.redeliveries,
    )
    return acquired(state, task, promise)


def release(state: Overlay, request: TaskRelease, now: int) -> Response:
    """Give the lease up; the task is pending again and offered after the delay."""
    repeated = repeated_by(state, request, now)
    if repeated is not None:
        return repeated
    task, refusal = held(state, request, now)
    if refusal is not None:
        return refusal
    promise = state.promise(task.id)
    assert promise is not None
    if request.unknown:
        task = task.but(deliveries=task.deliveries + 1)
        if task.deliveries > state.limits.max_deliveries:
            ended = halted(state, task, request.unknown, last_holder=task.last_holder)
            return Response(status=200, task=ended)
    return Response(
        status=200, task=promises.pend(state, task, promise.target, now, max(0, request.delay))
    )


def lease(state: Overlay, request: TaskLease, now: int) -> Response:
    """Turn a delivery lease into a TTL lease; asked again it is refreshed."""
    repeated = repeated_by(state, request, now)
    if repeated is not None:
        return repeated
    task, refusal = held(state, request, now)
    if refusal is not None:
        return refusal
    task = task.but(ttl=request.ttl, expires_at=now + request.ttl, ticket="", redeliveries=0)
    state.put_task(task)
    return Response(status=200, task=task)


def doubted(state: Overlay, task: Task, now: int) -> Task:
    """The task, its TTL lease cut to DOUBT_MS: enough for a living holder to refresh it.

    The broker returns the message of a dead process at once, while its lease would go on for a
    minute. A delivery lease needs no doubt: the ticket tells whose redelivery it was.
    """
    if task.state is not TaskState.ACQUIRED or task.ticket or (task.ttl or 0) <= DOUBT_MS:
        return task
    task = task.but(ttl=DOUBT_MS, expires_at=now + DOUBT_MS)
    state.put_task(task)
    return task


def heartbeat(state: Overlay, request: TaskHeartbeat, now: int) -> Response:
    """Refresh every lease that still stands; the others are named, and nothing is refused."""
    lost = []
    for lease in request.tasks:
        promise = promises.live(state, lease.id, now)
        task = state.task(lease.id)
        if promise is None or task is None or not holds(task, lease.version, lease.holder):
            lost.append(lease.holder)
        elif task.ttl is not None:
            state.put_task(task.but(expires_at=now + task.ttl))
    return Response(status=200, lost=tuple(lost))


def halted(state: Overlay, task: Task, reason: str, *, last_holder: str = "") -> Task:
    """The task, halted: it holds no lease and no outbox row; what resumed it is kept.

    A holder that had it halted is remembered, so that its repetition is answered as before.
    """
    state.withdraw(task.id)
    task = promises.cleared(
        task, TaskState.HALTED, resumes=task.resumes, last_holder=last_holder, reason=reason
    )
    state.put_task(task)
    return task


def taken_over(state: Overlay, task: Task, promise: Promise, now: int) -> Task:
    """The task, pending again after its holder was lost; halted when that happens too often."""
    task = task.but(deliveries=task.deliveries + 1, last_holder="")
    if task.deliveries > state.limits.max_deliveries:
        lost = f"lost {task.deliveries} times without progress; redrive it to offer it again"
        return halted(state, task, lost)
    return promises.pend(state, task, promise.target, now)


def leased(
    state: Overlay,
    task: Task,
    now: int,
    *,
    pid: str,
    ttl: int,
    holder: str,
    ticket: str = "",
    redeliveries: int = 0,
) -> Task:
    """The task, acquired under a new lease: its version rises by one."""
    state.withdraw(task.id)
    task = promises.cleared(
        task,
        TaskState.ACQUIRED,
        version=task.version + 1,
        pid=pid,
        ttl=ttl,
        expires_at=now + ttl,
        holder=holder,
        ticket=ticket,
        redeliveries=redeliveries,
        last_holder=holder,
        last_version=task.version + 1,
        acquired_at=now,
    )
    state.put_task(task)
    return task


def acquired(state: Overlay, task: Task, promise: Promise) -> Response:
    """The answer to an acquisition; under a ticket the promise came with the execute."""
    preload, more = state.preload(task.id) if task.version > 1 else ((), False)
    shown = None if task.ticket else promise
    return Response(status=200, task=task, promise=shown, preload=preload, more=more)


def held(
    state: Overlay,
    request: TaskFence | TaskSuspend | TaskFulfill | TaskRelease | TaskLease,
    now: int,
) -> tuple[Task, None] | tuple[Task, Response]:
    """The task if the request comes from its holder; else also why it is refused."""
    promise = promises.live(state, request.id, now)
    task = state.task(request.id)
    if promise is None or task is None:
        return Task(id=request.id, state=TaskState.FULFILLED), absent(request.id)
    if not holds(task, request.version, request.holder):
        return task, Response(status=409, task=task, error=stands(task))
    return task, None


def holds(task: Task, version: int, holder: str) -> bool:
    """Whether this holder has the lease at this version."""
    return task.state is TaskState.ACQUIRED and task.version == version and task.holder == holder


def _reacquired(task: Task, request: TaskAcquire) -> bool:
    """Whether the holder asks again for the lease it was given.

    The holder of a delivery lease is drawn for that one delivery. A TTL lease may be held by a
    pid, which acquires the task again at a later version.
    """
    if task.last_holder != request.holder:
        return False
    return request.ticket != "" or task.last_version == request.version + 1


def repeated_by(
    state: Overlay, request: TaskSuspend | TaskFulfill | TaskRelease | TaskLease, now: int
) -> Response | None:
    """The answer to a second copy: the holder's own lease at that version has already ended.

    A deadline that has passed is recorded first, so that it does not matter who does.
    """
    promises.live(state, request.id, now)
    task = state.task(request.id)
    if task is None or task.state is TaskState.ACQUIRED or not request.holder:
        return None
    if task.last_holder != request.holder or task.last_version != request.version:
        return None
    return Response(status=200, task=task)


def nobody(task_id: str) -> Response:
    """400: a lease needs a holder."""
    return Response(status=400, error=f"task {task_id!r} cannot be acquired without a holder")


def absent(task_id: str) -> Response:
    """404, naming the task."""
    return Response(status=404, error=f"task {task_id!r} does not exist")


def stands(task: Task) -> str:
    """The state a task is in, for an error text."""
    reason = f" ({task.reason})" if task.reason else ""
    return f"task {task.id!r} is {task.state} at task version {task.version}{reason}"
