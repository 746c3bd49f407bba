"""Transitions of promises: create, get, settle, register; and the settlement they share."""

from __future__ import annotations

from collections import deque
from typing import Any

from resonate_amqp.core.effects import Overlay
from resonate_amqp.core.model import (
    CLIENT_VERDICTS,
    DEADLINE,
    DELAY,
    DIGEST,
    FUNC,
    SERVICE,
    TARGET,
    TIMER,
    Promise,
    PromiseState,
    Task,
    TaskState,
    Value,
    origin_of,
)
from resonate_amqp.core.reports import PromiseReport
from resonate_amqp.core.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Response,
)

LONGEST_INSTANT = 19


def get(state: Overlay, request: PromiseGet, now: int) -> Response:
    """The promise as it stands at `now`; 404 when there is none."""
    promise = live(state, request.id, now)
    return absent(request.id) if promise is None else Response(status=200, promise=promise)


def create(state: Overlay, request: PromiseCreate, now: int) -> Response:
    """Create a promise, and its task if it has a target; an existing one answers as it is."""
    existing = live(state, request.id, now)
    if existing is not None:
        if request.strict and _asked_otherwise(existing, request):
            return Response(status=409, promise=existing, error=_taken(existing))
        return Response(status=200, promise=existing, task=state.task(request.id))
    promise = Promise(
        id=request.id,
        state=PromiseState.PENDING,
        param=request.param,
        tags=request.tags,
        timeout_at=request.timeout_at,
        created_at=min(now, request.timeout_at),
    )
    refusal = _refuse_tags(promise) or state.limits.refuses(promise.target)
    if refusal:
        return Response(status=400, error=refusal)
    promise = promise.at(now)
    state.put(promise)
    if promise.mirror:
        state.mirrors.append(promise.id)
    if not promise.target:
        return Response(status=200, promise=promise)
    if promise.pending:
        retry_at = max(now, int(promise.tags.get(DELAY, "0")))
        offered = retry_at <= now
        task = Task(id=promise.id, state=TaskState.PENDING, retry_at=retry_at, offered=offered)
        if offered:
            state.offer(task, promise.target)
    else:
        task = Task(id=promise.id, state=TaskState.FULFILLED)
    state.put_task(task)
    return Response(status=200, promise=promise, task=task)


def settle(state: Overlay, request: PromiseSettle, now: int, group: str) -> Response:
    """Settle a pending promise; a settled one answers as it is, whatever was asked."""
    refusal = no_verdict(request)
    if refusal is not None:
        return refusal
    promise = live(state, request.id, now)
    if promise is None:
        return absent(request.id)
    if promise.mirror and promise.pending:
        named = f"promise {promise.id!r} repeats the outcome of {promise.mirror!r}; settle that one"
        return Response(status=400, error=named)
    if promise.pending:
        promise = settled(state, promise, request.state, request.value, now, group)
    return Response(status=200, promise=promise, applied=promise.settled_by == group)


def given_up(
    state: Overlay, mirror: Promise, request: PromiseSettle, now: int, group: str
) -> Promise:
    """Cancel a pending mirror, which its own task awaits no more; the ledger cancels what it made.

    Nothing else settles a mirror but the outcome of the promise that it names.
    """
    state.mirrors.append(mirror.id)
    return settled(state, mirror, request.state, request.value, now, group)


def mirrored(
    state: Overlay, promise_id: str, verdict: PromiseState, value: Value, now: int
) -> None:
    """Settle a pending mirror as the promise it names was settled."""
    promise = live(state, promise_id, now)
    if promise is not None and promise.pending:
        settled(state, promise, verdict, value, now, "")


def report(state: Overlay, request: PromiseReport, now: int, group: str) -> Response:
    """Settle a promise as its callee answered; the first outcome counts.

    What is said of a task that a worker ever held is passed over: its holder tells the outcome.
    """
    promise = live(state, request.id, now)
    if promise is None:
        return absent(request.id)
    kind = promise.target.partition("://")[0]
    reading = request.readings.get(kind, f"promise {promise.id!r} is not settled by a reply")
    task = state.task(promise.id)
    if reading is None or (task is not None and task.version and kind in request.readings):
        return Response(status=200, promise=promise)
    if isinstance(reading, str):
        return Response(status=400, promise=promise, error=reading)
    if not promise.pending:
        again = promise.settled_by == group
        return Response(status=409, promise=promise, applied=again, error=_decided(promise))
    verdict, value = reading
    promise = settled(state, promise, verdict, value, now, group)
    return Response(status=200, promise=promise, applied=True)


def register_callback(state: Overlay, request: PromiseRegisterCallback, now: int) -> Response:
    """Resume `awaiter` when `awaited` is settled; registered only while both are pending."""
    if request.awaited == request.awaiter:
        return Response(status=400, error=f"promise {request.awaited!r} cannot await itself")
    awaited = live(state, request.awaited, now)
    if awaited is None:
        return absent(request.awaited)
    awaiter = live(state, request.awaiter, now)
    if awaiter is None or not awaiter.target:
        return Response(status=422, error=f"awaiter {request.awaiter!r} has no task to resume")
    if not awaited.external:
        return internal(awaited)
    if awaited.pending and awaiter.pending and awaiter.id not in awaited.callbacks:
        awaited = awaited.but(callbacks=joined(awaited.callbacks, awaiter.id))
        state.put(awaited)
    return Response(status=200, promise=awaited)


def register_listener(state: Overlay, request: PromiseRegisterListener, now: int) -> Response:
    """Notify `address` when `awaited` is settled; a settled one is answered, not registered."""
    awaited = live(state, request.awaited, now)
    if awaited is None:
        return absent(request.awaited)
    if not awaited.external:
        return internal(awaited)
    if awaited.pending and request.address not in awaited.listeners:
        awaited = awaited.but(listeners=joined(awaited.listeners, request.address))
        state.put(awaited)
    return Response(status=200, promise=awaited)


def live(state: Overlay, promise_id: str, now: int) -> Promise | None:
    """The promise as it stands at `now`; a deadline that has passed is recorded on the way."""
    promise = state.promise(promise_id)
    if promise is None or not promise.pending or promise.timeout_at > now:
        return promise
    due = promise.at(now)
    return settled(state, promise, due.state, due.value, promise.timeout_at, "", now)


def seen(promise: Promise, task: Task | None, now: int) -> tuple[Promise, Task | None]:
    """A stored pair as it must be seen at `now`: past its deadline settled, its task fulfilled."""
    shown = promise.at(now)
    if task is not None and shown is not promise:
        task = cleared(task, TaskState.FULFILLED)
    return shown, task


def settled(
    state: Overlay,
    promise: Promise,
    verdict: PromiseState,
    value: Value,
    settled_at: int,
    group: str,
    now: int | None = None,
) -> Promise:
    """Record the outcome, fulfil the task, resume every awaiter, notify every listener.

    All of it in one transition: a settled promise with an unfulfilled task or an unwoken awaiter
    is never stored. What a canceled promise's task issued is canceled with it, unless detached.
    """
    moment = settled_at if now is None else now
    promise, woken = _recorded(
        state, promise, state=verdict, value=value, settled_at=settled_at, settled_by=group
    )
    wakes = deque(woken)
    if verdict is PromiseState.REJECTED_CANCELED:
        wakes.extend(_cancel_below(state, promise.id, moment, group))
    while wakes:
        awaiter_id, awaited_id = wakes.popleft()
        awaiter = state.promise(awaiter_id)
        if awaiter is None or not awaiter.pending:
            continue
        if awaiter.timeout_at <= moment:
            due = awaiter.at(moment)
            wakes.extend(_recorded(state, due)[1])
        else:
            _resume(state, awaiter, awaited_id, moment)
    return promise


def _recorded(
    overlay: Overlay, promise: Promise, **outcome: Any
) -> tuple[Promise, list[tuple[str, str]]]:
    """Store one settled promise and fulfil its task; answers it, and who is to be woken."""
    woken = [(awaiter, promise.id) for awaiter in promise.callbacks]
    promise = promise.but(**(outcome | {"callbacks": ()}))
    overlay.put(promise)
    overlay.unblocks.extend((promise.id, address) for address in promise.listeners)
    task = overlay.task(promise.id)
    if task is not None and task.state is not TaskState.FULFILLED:
        if task.state is TaskState.PENDING:
            overlay.withdraw(task.id)
        overlay.put_task(cleared(task, TaskState.FULFILLED))
    return promise, woken


def _cancel_below(state: Overlay, branch: str, now: int, group: str) -> list[tuple[str, str]]:
    """Cancel what is pending of a tree, its root apart; answers who is to be woken."""
    wakes: list[tuple[str, str]] = []
    branches = deque([branch])
    while branches:
        for child_id in state.pending_children(branches.popleft()):
            child = state.promise(child_id)
            if child is None or not child.pending or child.detached:
                continue
            # Anybody may name a branch; what is of another tree may be another ledger's.
            if origin_of(child_id) != origin_of(branch):
                continue
            verdict = PromiseState.REJECTED_CANCELED
            if child.timeout_at <= now:
                outcome = _recorded(state, child.at(now))
            else:
                outcome = _recorded(state, child, state=verdict, settled_at=now, settled_by=group)
                if child.mirror:
                    state.mirrors.append(child_id)
            wakes.extend(outcome[1])
            branches.append(child_id)
    return wakes


CLEARED: dict[str, Any] = {
    "resumes": (),
    "pid": None,
    "ttl": None,
    "expires_at": None,
    "retry_at": None,
    "offered": False,
    "holder": "",
    "ticket": "",
    "redeliveries": 0,
}


def cleared(task: Task, to: TaskState, **changes: Any) -> Task:
    """The task in another state, without lease, retry or resumes; who held it last is kept."""
    return task.but(**(CLEARED | {"state": to} | changes))


def pend(state: Overlay, task: Task, target: str, now: int, delay: int = 0) -> Task:
    """The task, pending from now on and offered after `delay` ms; every entry is an outbox row."""
    task = cleared(
        task,
        TaskState.PENDING,
        resumes=task.resumes,
        retry_at=now + delay,
        offered=delay <= 0,
    )
    if task.offered:
        state.offer(task, target)
    state.put_task(task)
    return task


def offer_if_due(state: Overlay, task: Task, target: str, now: int) -> Task:
    """The task with its outbox row written, or as it is when its time has not come."""
    if task.retry_at is None or task.retry_at > now:
        return task
    state.offer(task, target)
    return task.but(offered=True)


def offered_again(state: Overlay, task: Task, target: str, now: int) -> Task:
    """The pending task with a new outbox row, published as a repetition if it had one before."""
    state.withdraw(task.id)
    state.offer(task, target, repeat=task.offered)
    task = task.but(retry_at=min(task.retry_at or now, now), offered=True)
    state.put_task(task)
    return task


def joined(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    """The names with one more, in order: the order of registration is not part of the record."""
    return tuple(sorted((*names, name)))


def no_verdict(request: PromiseSettle) -> Response | None:
    """400 for a state that no request may settle a promise as, whatever is recorded."""
    if request.state in CLIENT_VERDICTS:
        return None
    return Response(status=400, error=f"a request cannot settle a promise as {request.state}")


def absent(promise_id: str) -> Response:
    """404, naming the promise."""
    return Response(status=404, error=f"promise {promise_id!r} does not exist")


def _decided(promise: Promise) -> str:
    match promise.state:
        case PromiseState.REJECTED_TIMEDOUT:
            when = "the reply came after its deadline"
        case PromiseState.REJECTED_CANCELED:
            when = "the reply came after it was canceled"
        case _:
            when = "another reply, or somebody else, settled it before"
    return f"promise {promise.id!r} is {promise.state}: {when}"


def internal(promise: Promise) -> Response:
    """422: nothing but the task that created the promise may wait for it."""
    return Response(
        status=422,
        error=f"promise {promise.id!r} is settled by the task that created it alone; "
        "nobody else can await it",
    )


def _resume(state: Overlay, awaiter: Promise, awaited_id: str, now: int) -> None:
    task = state.task(awaiter.id)
    if task is None or task.state is TaskState.FULFILLED or awaited_id in task.resumes:
        return
    task = task.but(resumes=(*task.resumes, awaited_id))
    if task.state is TaskState.SUSPENDED:
        pend(state, task, awaiter.target, now)
    else:
        state.put_task(task)


def of_another_message(existing: Promise, request: PromiseCreate) -> bool:
    """Whether a create that tells a digest is of another message than the promise was made of.

    A promise that tells none was made by a call, whose messages the ledger sends.
    """
    was, now = existing.param.headers, request.param.headers
    if DIGEST not in now:
        return False
    told = [name for name in (DIGEST, SERVICE) if name in was and name in now]
    return any(was.get(name) != now.get(name) for name in (FUNC, *told))


def _asked_otherwise(existing: Promise, request: PromiseCreate) -> bool:
    """Whether the recorded call is another one: function, version or arguments differ."""
    return existing.param.data != request.param.data or existing.timer is not (
        request.tags.get(TIMER) == "true"
    )


def _taken(existing: Promise) -> str:
    func = existing.param.headers.get("func")
    what = f"a call of {func!r} with other arguments" if func else "another promise"
    return f"id {existing.id!r} is taken by {what}; use an id of its own for each call"


def _refuse_tags(promise: Promise) -> str:
    if promise.timer and promise.target:
        return f"promise {promise.id!r} cannot be a timer and have a target"
    if promise.mirror and not _instant(promise.tags.get(DEADLINE, "")):
        return f"promise {promise.id!r} is a mirror, which only the holder of its task may create"
    delay = promise.tags.get(DELAY)
    if delay is None:
        return ""
    if not promise.tags.get(TARGET):
        return f"promise {promise.id!r} has a delay but no target"
    if not _instant(delay) or int(delay) >= promise.timeout_at:
        return f"promise {promise.id!r}: delay {delay!r} is not an instant before its deadline"
    return ""


def _instant(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= LONGEST_INSTANT
