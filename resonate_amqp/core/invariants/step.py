"""Properties of a transition: what one request or timer may have done to a state."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

from resonate_amqp.core.invariants.schedules import check_schedules_step, uncalled
from resonate_amqp.core.invariants.state import State, at_deadline, leased, unleased
from resonate_amqp.core.model import (
    EMPTY,
    TASK_EDGES,
    Offer,
    Promise,
    PromiseState,
    Task,
    TaskState,
    origin_of,
)


def check_step(
    before: State, after: State, now: int, confirmed: Collection[int] | None = None
) -> list[str]:
    """The violations of a transition taken at `now`, each `property: id`.

    `confirmed` are the serials whose rows the step was told to drop; None when that is not known.
    """
    found = [
        f"{name}: {promise.id}"
        for promise in after.promises.values()
        for name, holds in OF_PROMISE_STEP.items()
        if not holds(before.promises.get(promise.id), promise, now)
    ]
    found += [
        f"{name}: {task.id}"
        for task in after.tasks.values()
        for name, allowed in OF_TASK_STEP.items()
        if not allowed(before.tasks.get(task.id), task, now)
    ]
    found += [
        f"{name}: {culprit}"
        for name, among in OF_COUPLING.items()
        for culprit in among(before, after, now)
    ]
    found += check_schedules_step(before.schedules, after.schedules, now)
    return found + [f"{OUTBOX_ROW_KEPT}: {lost}" for lost in _rows_lost(before, after, confirmed)]


def _settles(before: Promise | None, after: Promise) -> bool:
    return not after.pending and (before is None or before.pending)


def _stamped(before: Promise | None, after: Promise, now: int) -> bool:
    if not _settles(before, after):
        return True
    if at_deadline(after):
        return after.timeout_at <= now
    return after.settled_at == now and now < after.timeout_at


def _born_clean(before: Promise | None, after: Promise, now: int) -> bool:
    if before is not None:
        return True
    fresh = after.created_at == min(now, after.timeout_at)
    return fresh and not (after.callbacks or after.listeners) and after.value == EMPTY


OF_PROMISE_STEP: Mapping[str, Callable[[Promise | None, Promise, int], bool]] = {
    "preserved_promise_birth_fields_immutable": lambda b, a, _: (
        b is None
        or (b.param, b.tags, b.timeout_at, b.created_at)
        == (a.param, a.tags, a.timeout_at, a.created_at)
    ),
    "preserved_settled_promise_record": lambda b, a, _: (
        b is None or b.pending or replace(a, listeners=b.listeners) == b
    ),
    "consistent_promise_settlement_stamp": _stamped,
    "consistent_new_promise_born_clean": _born_clean,
    "consistent_obligation_discharge_requires_settled": lambda b, a, _: (
        b is None
        or not a.pending
        or (set(b.callbacks) <= set(a.callbacks) and set(b.listeners) <= set(a.listeners))
    ),
    "consistent_listener_consumption_enqueues_unblock": lambda b, a, _: (
        b is None or not _settles(b, a) or set(b.listeners) <= set(a.listeners)
    ),
    "monotone_promise_listeners_shrink_once_settled": lambda b, a, _: (
        b is None or b.pending or set(a.listeners) <= set(b.listeners)
    ),
}


def _acquires(before: Task | None, after: Task) -> bool:
    return leased(after) and (
        before is None or not leased(before) or before.version != after.version
    )


def _taken_over(before: Task, after: Task) -> bool:
    """Release and acquisition in one transition: a redelivery under the lease's own ticket."""
    return before.ticket != "" and before.ticket == after.ticket and before.holder != after.holder


def _version_moves(before: Task | None, after: Task, _: int) -> bool:
    version = 0 if before is None else before.version
    return after.version == version + (1 if _acquires(before, after) else 0)


def _acquired_from(before: Task | None, after: Task, _: int) -> bool:
    if before is None or not _acquires(before, after):
        return True
    return before.state is TaskState.PENDING or (leased(before) and _taken_over(before, after))


def _entry(before: Task | None, after: Task) -> bool:
    """Whether the task has come into `pending`; an own release and wake are told apart by rows."""
    return after.state is TaskState.PENDING and (
        before is None or before.state is not TaskState.PENDING
    )


def _acquired_whole(before: Task | None, after: Task, now: int) -> bool:
    if not _acquires(before, after):
        return True
    return after.resumes == () and after.acquired_at == now and after.holder != ""


def _resumes_kept(before: Task | None, after: Task, _: int) -> bool:
    """What resumed a task is known until somebody acquires it, also while it is halted."""
    if before is None or after.state not in (TaskState.PENDING, TaskState.HALTED):
        return True
    return set(before.resumes) <= set(after.resumes)


def _stands(before: Task | None, after: Task) -> bool:
    """Whether the lease that stood before stands still."""
    return (
        before is not None and leased(before) and leased(after) and before.version == after.version
    )


def _holder_stable(before: Task | None, after: Task, _: int) -> bool:
    if before is None or not _stands(before, after):
        return True
    return (before.pid, before.holder) == (after.pid, after.holder)


def _moved_whole(before: Task | None, after: Task, now: int) -> bool:
    """At one version a lease changes only by its move, after which no delivery counts."""
    if before is None or not _stands(before, after):
        return True
    if (before.ttl, before.ticket) == (after.ttl, after.ticket):
        return True
    fresh = after.ttl is not None and after.expires_at == now + after.ttl
    return fresh and (after.ticket, after.redeliveries) == ("", 0)


def _deadline_of_lease(before: Task | None, after: Task, now: int) -> bool:
    if not leased(after) or after.ttl is None:
        return True
    unchanged = before is not None and before.expires_at == after.expires_at
    if unchanged and not _acquires(before, after):
        return True
    return after.expires_at == now + after.ttl


def _born(before: Task | None, after: Task, _: int) -> bool:
    return before is not None or (after.state, after.version) in (
        (TaskState.PENDING, 0),
        (TaskState.ACQUIRED, 1),
        (TaskState.FULFILLED, 0),
    )


OF_TASK_STEP: Mapping[str, Callable[[Task | None, Task, int], bool]] = {
    "monotone_task_version_increases_only_on_acquisition": _version_moves,
    "preserved_fulfilled_task": lambda b, a, _: (
        b is None or b.state is not TaskState.FULFILLED or a == b
    ),
    "consistent_task_state_edge_admissible": lambda b, a, _: (
        b is None or a.state in TASK_EDGES[b.state]
    ),
    "preserved_task_acquisition_only_from_pending": _acquired_from,
    "preserved_task_suspension_only_from_acquired": lambda b, a, _: (
        a.state is not TaskState.SUSPENDED
        or (b is not None and b.state in (TaskState.ACQUIRED, TaskState.SUSPENDED))
    ),
    "consistent_task_birth_state": _born,
    "consistent_task_lease_released_atomically": lambda b, a, _: (
        b is None or not leased(b) or leased(a) or unleased(a)
    ),
    "preserved_task_lease_holder_stable": _holder_stable,
    "consistent_task_acquisition_is_atomic": _acquired_whole,
    "consistent_task_lease_deadline_is_now_plus_ttl": _deadline_of_lease,
    "consistent_task_pending_entry_arms_retry": lambda b, a, now: (
        not _entry(b, a) or (a.retry_at is not None and a.retry_at >= now)
    ),
    "consistent_task_wake_records_resume": lambda b, a, _: (
        b is None
        or not (b.state is TaskState.SUSPENDED and a.state is TaskState.PENDING)
        or a.resumes != ()
    ),
    "preserved_task_resumes_until_acquired": _resumes_kept,
    "consistent_task_lease_moved_whole": _moved_whole,
}


def _gone(before: State, after: State, _: int) -> Iterator[str]:
    yield from before.promises.keys() - after.promises.keys()


def _tasks_gone(before: State, after: State, _: int) -> Iterator[str]:
    yield from before.tasks.keys() - after.tasks.keys()


def _orphans(before: State, after: State, _: int) -> Iterator[str]:
    """Tasks born later than their promise."""
    yield from (after.tasks.keys() - before.tasks.keys()) & before.promises.keys()


def _settled_now(before: State, after: State) -> Iterator[tuple[Promise | None, Promise]]:
    for promise in after.promises.values():
        known = before.promises.get(promise.id)
        if _settles(known, promise):
            yield known, promise


def _unfulfilled_by_settlement(before: State, after: State, _: int) -> Iterator[str]:
    for _known, promise in _settled_now(before, after):
        task = after.tasks.get(promise.id)
        if task is not None and task.state is not TaskState.FULFILLED:
            yield promise.id


def _fulfilled_without_settlement(before: State, after: State, _: int) -> Iterator[str]:
    settled = {promise.id for _known, promise in _settled_now(before, after)}
    for task in after.tasks.values():
        known = before.tasks.get(task.id)
        entered = known is None or known.state is not TaskState.FULFILLED
        if task.state is TaskState.FULFILLED and entered and task.id not in settled:
            yield task.id


def _not_woken(before: State, after: State, _: int) -> Iterator[str]:
    """Awaiters whose callback was consumed, and that know nothing of it.

    One that holds a lease is awake: it is told by its next suspend, which clears the resumes.
    """
    for known, promise in _settled_now(before, after):
        for awaiter in known.callbacks if known is not None else ():
            task = after.tasks.get(awaiter)
            if task is None or task.state in (TaskState.FULFILLED, TaskState.ACQUIRED):
                continue
            if promise.id not in task.resumes:
                yield awaiter


def _woken_by_nothing(before: State, after: State, _: int) -> Iterator[str]:
    consumed = {
        awaiter
        for known, _promise in _settled_now(before, after)
        for awaiter in (known.callbacks if known is not None else ())
    }
    for task in after.tasks.values():
        known = before.tasks.get(task.id)
        slept = known is not None and known.state is TaskState.SUSPENDED
        if slept and task.state is TaskState.PENDING and task.id not in consumed:
            yield task.id


def _suspended_without_callback(before: State, after: State, _: int) -> Iterator[str]:
    alarms = {awaiter for p in after.promises.values() if p.pending for awaiter in p.callbacks}
    for task in after.tasks.values():
        known = before.tasks.get(task.id)
        entered = known is None or known.state is not TaskState.SUSPENDED
        if task.state is TaskState.SUSPENDED and entered and task.id not in alarms:
            yield task.id


def _fresh(before: State, after: State) -> Iterator[Offer]:
    yield from (row for serial, row in after.offers.items() if serial not in before.offers)


def _dead_dispatch(before: State, after: State, now: int) -> Iterator[str]:
    for row in _fresh(before, after):
        promise = after.promises.get(row.task_id)
        if promise is None or not promise.pending or promise.timeout_at <= now:
            yield row.task_id


def _dead_entry(before: State, after: State, now: int) -> Iterator[str]:
    for task in after.tasks.values():
        promise = after.promises.get(task.id)
        dead = promise is None or promise.timeout_at <= now
        if dead and _entry(before.tasks.get(task.id), task):
            yield task.id


def _offered_without_row(before: State, after: State, _: int) -> Iterator[str]:
    written = {row.task_id for row in _fresh(before, after)}
    for task in after.tasks.values():
        known = before.tasks.get(task.id)
        newly = known is None or not known.offered or known.version != task.version
        if task.offered and newly and task.id not in written:
            yield task.id


def _row_not_told_from_the_first(before: State, after: State, _: int) -> Iterator[str]:
    """Tasks with a new row that is not marked `repeat` although there was one, or the reverse."""
    for row in _fresh(before, after):
        known = before.tasks.get(row.task_id)
        again = known is not None and known.offered and known.version == row.version
        if again is not row.repeat:
            yield row.task_id


def _left_of_canceled(before: State, after: State, _: int) -> Iterator[str]:
    """Children that are pending still although their task's promise was canceled."""
    canceled = {
        promise.id
        for _known, promise in _settled_now(before, after)
        if promise.state is PromiseState.REJECTED_CANCELED
    }
    for promise in after.promises.values() if canceled else ():
        attached = promise.pending and not promise.detached
        child = promise.branch != promise.id and origin_of(promise.branch) == origin_of(promise.id)
        if attached and child and promise.branch in canceled:
            yield promise.id


OUTBOX_ROW_KEPT = "consistent_outbox_row_kept_until_confirmed"


def _rows_lost(before: State, after: State, confirmed: Collection[int] | None) -> Iterator[str]:
    """Tasks whose row went although they are still offered, unconfirmed and not offered anew."""
    if confirmed is None:
        return
    written = {row.task_id for row in _fresh(before, after)}
    for serial, row in before.offers.items():
        task = after.tasks.get(row.task_id)
        if serial in after.offers or serial in confirmed or row.task_id in written:
            continue
        if task is not None and task.offered and task.version == row.version:
            yield row.task_id


OF_COUPLING: Mapping[str, Callable[[State, State, int], Iterator[str]]] = {
    "monotone_promise_set_grows": _gone,
    "monotone_task_set_grows": _tasks_gone,
    "consistent_task_birth_couples_promise_birth": _orphans,
    "consistent_settlement_fulfils_task": _unfulfilled_by_settlement,
    "consistent_task_fulfilment_needs_settlement": _fulfilled_without_settlement,
    "consistent_callback_consumption_resumes_awaiter": _not_woken,
    "consistent_wake_follows_callback_consumption": _woken_by_nothing,
    "consistent_suspension_registers_callback": _suspended_without_callback,
    "preserved_execute_only_for_live_task": _dead_dispatch,
    "preserved_no_dead_dispatch": _dead_entry,
    "consistent_offer_writes_outbox_row": _offered_without_row,
    "consistent_outbox_row_repeat_iff_offered_before": _row_not_told_from_the_first,
    "consistent_cancellation_reaches_attached_children": _left_of_canceled,
    "consistent_schedule_tick_has_its_call": lambda before, after, _: uncalled(
        before.schedules, after.schedules, after.promises
    ),
}
