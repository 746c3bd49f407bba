"""Transitions of tasks: create, fence, suspend, fulfill, halt, continue, redrive.

A request that is wrong in itself is refused with 400 before anything recorded is looked at. What
concerns the lease itself is in `core.leases`.
"""

from __future__ import annotations

from dataclasses import replace

from resonate_amqp.core import leases, promises
from resonate_amqp.core.effects import Overlay, within
from resonate_amqp.core.model import (
    DEADLINE,
    MIRROR,
    TARGET,
    PromiseState,
    Task,
    TaskState,
    origin_of,
)
from resonate_amqp.core.requests import (
    PromiseCreate,
    PromiseSettle,
    Response,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskRedrive,
    TaskSuspend,
)

CANCELED = PromiseState.REJECTED_CANCELED


def get(state: Overlay, request: TaskGet, now: int) -> Response:
    """The task and its promise; 404 when there is none."""
    promise = promises.live(state, request.id, now)
    task = state.task(request.id)
    if task is None:
        return leases.absent(request.id)
    return Response(status=200, task=task, promise=promise)


def create(state: Overlay, request: TaskCreate, now: int) -> Response:
    """Create a promise and acquire its task at once, under a TTL lease."""
    if not request.holder:
        return leases.nobody(request.action.id)
    existing = promises.live(state, request.action.id, now)
    if not (existing or request.action).tags.get(TARGET):
        status = 400 if existing is None else 422
        return Response(status=status, error=f"promise {request.action.id!r} has no target")
    before = state.task(request.action.id)
    if existing is not None and promises.of_another_message(existing, request.action):
        error = f"promise {existing.id!r} was made of another message"
        return Response(status=409, task=before, promise=existing, error=error)
    if before is not None and before.last_holder == request.holder:
        if before.state is TaskState.ACQUIRED and existing is not None:
            return leases.acquired(state, before, existing)
        return Response(status=200, task=before, promise=existing)
    response = promises.create(state, request.action, now)
    if not response.ok or response.promise is None or response.task is None:
        return response
    task = response.task
    if not response.promise.pending:
        return response
    if task.state is not TaskState.PENDING:
        if request.redelivered:
            task = leases.doubted(state, task, now)
        return Response(status=409, task=task, promise=response.promise, error=leases.stands(task))
    task = leases.leased(state, task, now, pid=request.pid, ttl=request.ttl, holder=request.holder)
    return leases.acquired(state, task, response.promise)


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
    wrong = promises.no_verdict(action) if isinstance(action, PromiseSettle) else None
    if wrong is not None:
        return wrong
    existing = promises.live(state, action.id, now)
    if isinstance(action, PromiseCreate):
        if existing is not None:
            return promises.create(state, action, now)
    elif existing is None:
        return promises.absent(action.id)
    elif not existing.pending:
        return promises.settle(state, action, now, group)
    task, refusal = leases.held(state, request, now)
    if refusal is not None:
        return refusal
    if isinstance(action, PromiseCreate):
        named = action.tags.get(MIRROR, "")
        if named and _awaits(state, named, task.id):
            error = f"promise {named!r} waits for task {task.id!r}, which cannot wait for it"
            return Response(status=400, error=error)
        response = promises.create(state, _bounded(state, action, task), now)
        if response.ok:
            _progress(state, task)
        return response
    if existing is not None and existing.mirror and action.state is CANCELED:
        promise = promises.given_up(state, existing, action, now, group)
        return Response(status=200, promise=promise, applied=True)
    return promises.settle(state, action, now, group)


def _awaits(state: Overlay, promise_id: str, task_id: str) -> bool:
    """Whether a promise is that of a task, or of whoever issued it and is not done before it."""
    above: set[str] = set()
    promise = state.promise(task_id)
    while promise is not None and promise.id not in above:
        if promise.id == promise_id:
            return True
        above.add(promise.id)
        promise = None if promise.detached else state.promise(promise.branch)
    return False


def _bounded(state: Overlay, action: PromiseCreate, task: Task) -> PromiseCreate:
    """A mirror ends with its task's promise or as the named promise does, by no other deadline."""
    promise = state.promise(task.id)
    if MIRROR not in action.tags or promise is None:
        return action
    tags = {**action.tags, DEADLINE: str(action.timeout_at)}
    return replace(action, timeout_at=promise.timeout_at, tags=tags)


def suspend(state: Overlay, request: TaskSuspend, now: int) -> Response:
    """Give the lease up until one of `awaited` is settled; 300 when one already is."""
    if not request.awaited or request.id in request.awaited:
        return Response(status=400, error=f"task {request.id!r} must await another promise")
    repeated = leases.repeated_by(state, request, now)
    if repeated is not None:
        return repeated
    task, refusal = leases.held(state, request, now)
    if refusal is not None:
        return refusal
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
    wrong = promises.no_verdict(request.action)
    if wrong is not None:
        return wrong
    repeated = leases.repeated_by(state, request, now)
    if repeated is not None:
        promise = promises.live(state, request.id, now)
        if promise is not None and not promise.pending:
            return replace(repeated, promise=promise, applied=promise.settled_by == group)
    task, refusal = leases.held(state, request, now)
    if refusal is not None:
        return refusal
    response = promises.settle(state, request.action, now, group)
    return replace(response, task=state.task(task.id))


def halt(state: Overlay, request: TaskHalt, now: int) -> Response:
    """Stop a task until somebody continues it; its promise stays pending.

    A holder stops only what it holds: its late request must not stop whoever came after it.
    """
    promises.live(state, request.id, now)
    task = state.task(request.id)
    if task is None:
        return leases.absent(request.id)
    lost = request.holder and not leases.holds(task, request.version, request.holder)
    if task.state is TaskState.FULFILLED or (lost and task.state is not TaskState.HALTED):
        return Response(status=409, task=task, error=leases.stands(task))
    if task.state is not TaskState.HALTED:
        last_holder = task.last_holder if request.holder else ""
        task = leases.halted(state, task, request.reason, last_holder=last_holder)
    return Response(status=200, task=task)


def resume(state: Overlay, request: TaskContinue, now: int) -> Response:
    """`task.continue`: offer a halted task again."""
    promise = promises.live(state, request.id, now)
    task = state.task(request.id)
    if task is None or promise is None:
        return leases.absent(request.id)
    if task.state is not TaskState.HALTED or not promise.pending:
        return Response(status=409, task=task, error=leases.stands(task))
    task = task.but(deliveries=0, reason="")
    return Response(status=200, task=promises.pend(state, task, promise.target, now))


def redrive(state: Overlay, request: TaskRedrive, now: int) -> Response:
    """Offer a task again now: one that is pending gets a new outbox row, a halted one goes on."""
    task = state.task(request.id)
    if task is not None and task.state is TaskState.HALTED:
        return resume(state, TaskContinue(id=request.id), now)
    promise = promises.live(state, request.id, now)
    task = state.task(request.id)
    if task is None or promise is None:
        return leases.absent(request.id)
    if task.state is not TaskState.PENDING:
        return Response(status=409, task=task, error=leases.stands(task))
    return Response(status=200, task=promises.offered_again(state, task, promise.target, now))


def _progress(state: Overlay, task: Task) -> None:
    if task.deliveries:
        state.put_task(task.but(deliveries=0))
