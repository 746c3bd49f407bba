"""Transitions of tasks: acquire, fence, suspend, fulfill, release, heartbeat, halt, continue.

A holder's request may arrive twice, because a group is repeated until it is answered. So each
of them first recognises its own earlier copy, by the holder and version that outlive the lease,
and then answers as it answered then.
"""

from __future__ import annotations

from dataclasses import replace

from resonate_amqp.core import promises
from resonate_amqp.core.effects import Overlay, within
from resonate_amqp.core.model import TARGET, Promise, Task, TaskState, origin_of
from resonate_amqp.core.requests import (
    PromiseCreate,
    Response,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRelease,
    TaskSuspend,
    Verdict,
)


def get(state: Overlay, request: TaskGet, now: int) -> Response:
    """The task and its promise; 404 when there is none."""
    promise = promises.live(state, request.id, now)
    task = state.task(request.id)
    if task is None:
        return _absent(request.id)
    return Response(status=200, task=task, promise=promise)


def create(state: Overlay, request: TaskCreate, now: int) -> Response:
    """Create a promise and acquire its task at once, under a TTL lease."""
    if not request.holder:
        return _nobody(request.action.id)
    existing = promises.live(state, request.action.id, now)
    if not (existing or request.action).tags.get(TARGET):
        status = 400 if existing is None else 422
        return Response(status=status, error=f"promise {request.action.id!r} has no target")
    before = state.task(request.action.id)
    if before is not None and before.last_holder == request.holder:
        if before.state is TaskState.ACQUIRED and existing is not None:
            return _acquired(state, before, existing)
        return Response(status=200, task=before, promise=existing)
    response = promises.create(state, request.action, now)
    if not response.ok or response.promise is None or response.task is None:
        return response
    task = response.task
    if not response.promise.pending:
        return response
    if task.state is not TaskState.PENDING:
        return Response(status=409, task=task, promise=response.promise, error=_stands(task))
    task = _lease(state, task, now, pid=request.pid, ttl=request.ttl, holder=request.holder)
    return _acquired(state, task, response.promise)


def acquire(state: Overlay, request: TaskAcquire, now: int) -> Response:
    """Lease a pending task, or take a dead delivery's lease over.

    A lease may be taken over only by the redelivery of the message it was acquired under: the
    same ticket, flagged by the broker, not older than the one seen before. Then the version
    rises as for any acquisition, whatever version the execute names.
    """
    if not request.holder:
        return _nobody(request.id)
    promise = promises.live(state, request.id, now)
    task = state.task(request.id)
    if promise is None or task is None:
        return replace(_absent(request.id), verdict=Verdict.ACK)
    if _reacquired(task, request):
        return _acquired(state, task, promise)
    match task.state:
        case TaskState.PENDING if task.version == request.version:
            pass
        case TaskState.ACQUIRED if request.ticket and request.ticket == task.ticket:
            if not request.redelivered or 0 <= request.redeliveries < task.redeliveries:
                return Response(status=409, task=task, error=_stands(task), verdict=Verdict.RETURN)
            task = taken_over(state, task, promise, now)
            if task.state is TaskState.HALTED:
                return Response(status=409, task=task, error=_stands(task), verdict=Verdict.ACK)
        case _:
            return Response(status=409, task=task, error=_stands(task), verdict=Verdict.ACK)
    task = _lease(
        state,
        task,
        now,
        pid=request.pid,
        ttl=request.ttl,
        holder=request.holder,
        ticket=request.ticket,
        redeliveries=request.redeliveries,
    )
    return _acquired(state, task, promise)


def fence(state: Overlay, request: TaskFence, now: int, group: str) -> Response:
    """Create or settle a promise as the holder of a task.

    The guard is checked only when the action would write, so that a repeated fence of a lease
    that has ended since is answered with what it recorded.
    """
    action = request.action
    if action.id == request.id:
        return Response(status=400, error=f"a fence of task {request.id!r} cannot act on itself")
    if origin_of(action.id) != origin_of(request.id):
        return Response(
            status=400, error=f"promise {action.id!r} is not of the tree of task {request.id!r}"
        )
    existing = promises.live(state, action.id, now)
    if isinstance(action, PromiseCreate):
        if existing is not None:
            return promises.create(state, action, now)
    elif existing is None:
        return promises.absent(action.id)
    elif not existing.pending:
        return promises.settle(state, action, now, group)
    task, refusal = _held(state, request, now)
    if refusal is not None:
        return refusal
    if isinstance(action, PromiseCreate):
        response = promises.create(state, action, now)
        if response.ok:
            _progress(state, task)
        return response
    return promises.settle(state, action, now, group)


def suspend(state: Overlay, request: TaskSuspend, now: int) -> Response:
    """Give the lease up until one of `awaited` is settled; 300 when one already is."""
    repeated = _repeated(state, request, now)
    if repeated is not None:
        return repeated
    task, refusal = _held(state, request, now)
    if refusal is not None:
        return refusal
    if not request.awaited or task.id in request.awaited:
        return Response(status=400, error=f"task {task.id!r} must await another promise")
    awaited = [promises.live(state, promise_id, now) for promise_id in request.awaited]
    for promise_id, promise in zip(request.awaited, awaited, strict=True):
        if promise is None:
            return replace(promises.absent(promise_id), status=422)
        if not promise.external:
            return promises.internal(promise)
    present = [promise for promise in awaited if promise is not None]
    done = tuple(promise for promise in present if not promise.pending)
    # A deadline recorded just now may have told this very task.
    task = state.task(task.id) or task
    if done:
        if task.resumes:
            task = task.but(resumes=())
            state.put_task(task)
        told, more = within(done)
        return Response(status=300, task=task, preload=told, more=more)
    for promise in present:
        if task.id not in promise.callbacks:
            state.put(promise.but(callbacks=promises.joined(promise.callbacks, task.id)))
    task = promises.cleared(task, TaskState.SUSPENDED, deliveries=0)
    state.put_task(task)
    return Response(status=200, task=task)


def fulfill(state: Overlay, request: TaskFulfill, now: int, group: str) -> Response:
    """Settle the task's own promise as its holder."""
    if request.action.id != request.id:
        return Response(status=400, error=f"task {request.id!r} can fulfil only its own promise")
    repeated = _repeated(state, request, now)
    if repeated is not None:
        promise = promises.live(state, request.id, now)
        if promise is not None and not promise.pending:
            return replace(repeated, promise=promise, applied=promise.settled_by == group)
    task, refusal = _held(state, request, now)
    if refusal is not None:
        return refusal
    response = promises.settle(state, request.action, now, group)
    return replace(response, task=state.task(task.id))


def release(state: Overlay, request: TaskRelease, now: int) -> Response:
    """Give the lease up; the task is pending again and offered after the delay."""
    repeated = _repeated(state, request, now)
    if repeated is not None:
        return repeated
    task, refusal = _held(state, request, now)
    if refusal is not None:
        return refusal
    promise = state.promise(task.id)
    assert promise is not None
    return Response(
        status=200, task=promises.pend(state, task, promise.target, now, max(0, request.delay))
    )


def heartbeat(state: Overlay, request: TaskHeartbeat, now: int) -> Response:
    """Refresh every lease that still stands; the others are named, and nothing is refused."""
    lost = []
    for lease in request.tasks:
        promise = promises.live(state, lease.id, now)
        task = state.task(lease.id)
        if promise is None or task is None or not _holds(task, lease.version, lease.holder):
            lost.append(lease.holder)
        elif task.ttl is not None:
            state.put_task(task.but(expires_at=now + task.ttl))
    return Response(status=200, lost=tuple(lost))


def halt(state: Overlay, request: TaskHalt, now: int) -> Response:
    """Stop a task until somebody continues it; its promise stays pending."""
    promises.live(state, request.id, now)
    task = state.task(request.id)
    if task is None:
        return _absent(request.id)
    if task.state is TaskState.FULFILLED:
        return Response(status=409, task=task, error=_stands(task))
    if task.state is not TaskState.HALTED:
        task = halted(state, task, request.reason)
    return Response(status=200, task=task)


def resume(state: Overlay, request: TaskContinue, now: int) -> Response:
    """`task.continue`: offer a halted task again."""
    promise = promises.live(state, request.id, now)
    task = state.task(request.id)
    if task is None or promise is None:
        return _absent(request.id)
    if task.state is not TaskState.HALTED or not promise.pending:
        return Response(status=409, task=task, error=_stands(task))
    task = task.but(deliveries=0, reason="")
    return Response(status=200, task=promises.pend(state, task, promise.target, now))


def halted(state: Overlay, task: Task, reason: str) -> Task:
    """The task, halted: it holds no lease and no outbox row."""
    state.withdraw(task.id)
    task = promises.cleared(task, TaskState.HALTED, last_holder="", reason=reason)
    state.put_task(task)
    return task


def taken_over(state: Overlay, task: Task, promise: Promise, now: int) -> Task:
    """The task, pending again after its holder was lost; halted when that happens too often."""
    task = task.but(deliveries=task.deliveries + 1, last_holder="")
    if task.deliveries > state.limits.max_deliveries:
        lost = f"lost {task.deliveries} times without progress; `task.continue` offers it again"
        return halted(state, task, lost)
    return promises.pend(state, task, promise.target, now)


def _lease(
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


def _acquired(state: Overlay, task: Task, promise: Promise) -> Response:
    """The answer to an acquisition; under a ticket the promise came with the execute."""
    preload, more = state.preload(task.id) if task.version > 1 else ((), False)
    shown = None if task.ticket else promise
    return Response(status=200, task=task, promise=shown, preload=preload, more=more)


def _held(
    state: Overlay, request: TaskFence | TaskSuspend | TaskFulfill | TaskRelease, now: int
) -> tuple[Task, None] | tuple[Task, Response]:
    promise = promises.live(state, request.id, now)
    task = state.task(request.id)
    if promise is None or task is None:
        return Task(id=request.id, state=TaskState.FULFILLED), _absent(request.id)
    if not _holds(task, request.version, request.holder):
        return task, Response(status=409, task=task, error=_stands(task))
    return task, None


def _holds(task: Task, version: int, holder: str) -> bool:
    return task.state is TaskState.ACQUIRED and task.version == version and task.holder == holder


def _reacquired(task: Task, request: TaskAcquire) -> bool:
    """Whether the holder asks again for the lease it was given.

    The holder of a delivery lease is drawn for that one delivery. A TTL lease may be held by a
    pid, which acquires the task again at a later version.
    """
    if task.last_holder != request.holder:
        return False
    return request.ticket != "" or task.last_version == request.version + 1


def _repeated(
    state: Overlay, request: TaskSuspend | TaskFulfill | TaskRelease, now: int
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


def _progress(state: Overlay, task: Task) -> None:
    if task.deliveries:
        state.put_task(task.but(deliveries=0))


def _nobody(task_id: str) -> Response:
    return Response(status=400, error=f"task {task_id!r} cannot be acquired without a holder")


def _absent(task_id: str) -> Response:
    return Response(status=404, error=f"task {task_id!r} does not exist")


def _stands(task: Task) -> str:
    reason = f" ({task.reason})" if task.reason else ""
    return f"task {task.id!r} is {task.state} at version {task.version}{reason}"
