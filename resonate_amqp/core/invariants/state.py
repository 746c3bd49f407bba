"""Properties of a state: of a promise, of a task, and of what a ledger keeps as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from resonate_amqp.core.invariants.schedules import check_schedules
from resonate_amqp.core.model import (
    EMPTY,
    Offer,
    Promise,
    PromiseState,
    Schedule,
    Task,
    TaskState,
)


@dataclass(frozen=True, slots=True)
class State:
    """Everything a ledger keeps: promises, tasks and schedules by id, outbox rows by serial."""

    promises: Mapping[str, Promise] = field(default_factory=dict)
    tasks: Mapping[str, Task] = field(default_factory=dict)
    offers: Mapping[int, Offer] = field(default_factory=dict)
    schedules: Mapping[str, Schedule] = field(default_factory=dict)


def check_state(
    promises: Mapping[str, Promise],
    tasks: Mapping[str, Task],
    offers: Mapping[int, Offer],
    schedules: Mapping[str, Schedule] | None = None,
) -> list[str]:
    """The violations in a state, each `property: id`; empty when everything holds."""
    state = State(promises, tasks, offers, schedules or {})
    found = [
        f"{name}: {promise.id}"
        for promise in promises.values()
        for name, holds in OF_PROMISE.items()
        if not holds(promise)
    ]
    found += [
        f"{name}: {task.id}"
        for task in tasks.values()
        for name, holds in OF_TASK.items()
        if not holds(task)
    ]
    found += [f"{name}: {culprit}" for name, among in OF_STORE.items() for culprit in among(state)]
    return found + check_schedules(state.schedules)


def at_deadline(promise: Promise) -> bool:
    """Whether it was the deadline that settled the promise."""
    return not promise.pending and promise.settled_at == promise.timeout_at


def _by_deadline(promise: Promise) -> PromiseState:
    return PromiseState.RESOLVED if promise.timer else PromiseState.REJECTED_TIMEDOUT


OF_PROMISE: Mapping[str, Callable[[Promise], bool]] = {
    "well_formed_promise_created_at_lte_timeout_at": lambda p: p.created_at <= p.timeout_at,
    "well_formed_promise_pending_created_before_deadline": lambda p: (
        not p.pending or p.created_at < p.timeout_at
    ),
    "well_formed_promise_settled_at_lte_timeout_at": lambda p: (
        p.settled_at is None or p.settled_at <= p.timeout_at
    ),
    "well_formed_promise_created_at_lte_settled_at": lambda p: (
        p.settled_at is None or p.created_at <= p.settled_at
    ),
    "well_formed_promise_settled_at_iff_not_pending": lambda p: (
        (p.settled_at is not None) is not p.pending
    ),
    "well_formed_promise_pending_has_no_value": lambda p: not p.pending or p.value == EMPTY,
    "well_formed_promise_deadline_verdict_matches_timer_tag": lambda p: (
        not at_deadline(p) or p.state is _by_deadline(p)
    ),
    "well_formed_promise_deadline_settlement_has_no_value": lambda p: (
        not at_deadline(p) or p.value == EMPTY
    ),
    "well_formed_promise_timer_not_targeted": lambda p: not (p.timer and p.target),
    "well_formed_promise_timedout_is_server_owned": lambda p: (
        p.state is not PromiseState.REJECTED_TIMEDOUT or at_deadline(p) or p.mirror != ""
    ),
    "well_formed_promise_callbacks_unique": lambda p: len(set(p.callbacks)) == len(p.callbacks),
    "well_formed_promise_listeners_unique": lambda p: len(set(p.listeners)) == len(p.listeners),
    "well_formed_promise_obligations_require_external": lambda p: (
        p.external or not (p.callbacks or p.listeners)
    ),
    "well_formed_promise_awaiter_is_not_self": lambda p: p.id not in p.callbacks,
    "well_formed_promise_settled_has_no_callbacks": lambda p: p.pending or not p.callbacks,
    "well_formed_promise_deadline_settles_for_no_group": lambda p: (
        not (p.pending or at_deadline(p)) or p.settled_by == ""
    ),
}


def leased(task: Task) -> bool:
    """Whether somebody may hold the task."""
    return task.state is TaskState.ACQUIRED


def unleased(task: Task) -> bool:
    """Whether nothing of a lease is left on the task."""
    nobody = task.pid is None and task.holder == "" and task.ticket == ""
    return nobody and task.ttl is None and task.expires_at is None


def _cleared(task: Task) -> bool:
    return unleased(task) and task.retry_at is None and not task.offered


OF_TASK: Mapping[str, Callable[[Task], bool]] = {
    "well_formed_task_acquired_iff_has_pid": lambda t: leased(t) is (t.pid is not None),
    "well_formed_task_acquired_iff_has_ttl": lambda t: leased(t) is (t.ttl is not None),
    "well_formed_task_acquired_iff_has_expires_at": lambda t: (
        leased(t) is (t.expires_at is not None)
    ),
    "well_formed_task_pending_iff_has_retry_at": lambda t: (
        (t.state is TaskState.PENDING) is (t.retry_at is not None)
    ),
    "well_formed_task_fulfilled_is_cleared": lambda t: (
        t.state is not TaskState.FULFILLED or (_cleared(t) and not t.resumes)
    ),
    "well_formed_task_suspended_is_cleared": lambda t: (
        t.state is not TaskState.SUSPENDED or _cleared(t)
    ),
    "well_formed_task_halted_is_cleared": lambda t: t.state is not TaskState.HALTED or _cleared(t),
    "well_formed_task_suspended_has_no_resumes": lambda t: (
        t.state is not TaskState.SUSPENDED or not t.resumes
    ),
    "well_formed_task_resumes_unique": lambda t: len(set(t.resumes)) == len(t.resumes),
    "well_formed_task_acquired_version_positive": lambda t: not leased(t) or t.version > 0,
    "well_formed_task_acquired_iff_has_holder": lambda t: leased(t) is (t.holder != ""),
    "well_formed_task_ticket_requires_lease": lambda t: leased(t) or t.ticket == "",
    "well_formed_task_offered_only_while_pending": lambda t: (
        not t.offered or t.state is TaskState.PENDING
    ),
    "well_formed_task_holder_is_last_holder": lambda t: (
        not leased(t) or (t.last_holder, t.last_version) == (t.holder, t.version)
    ),
    "well_formed_task_last_version_not_ahead": lambda t: t.last_version <= t.version,
}


def _tasks_without_target(state: State) -> Iterator[str]:
    targeted = {promise.id for promise in state.promises.values() if promise.target}
    yield from targeted ^ set(state.tasks)


def _settled_unfulfilled(state: State) -> Iterator[str]:
    for promise in state.promises.values():
        task = state.tasks.get(promise.id)
        if task is not None and not promise.pending and task.state is not TaskState.FULFILLED:
            yield promise.id


def _fulfilled_unsettled(state: State) -> Iterator[str]:
    for task in state.tasks.values():
        promise = state.promises.get(task.id)
        if task.state is TaskState.FULFILLED and promise is not None and promise.pending:
            yield task.id


def _awaiters_without_task(state: State) -> Iterator[str]:
    for promise in state.promises.values():
        yield from (awaiter for awaiter in promise.callbacks if awaiter not in state.tasks)


def _asleep_without_alarm(state: State) -> Iterator[str]:
    alarms = {awaiter for p in state.promises.values() if p.pending for awaiter in p.callbacks}
    for task in state.tasks.values():
        promise = state.promises.get(task.id)
        asleep = task.state is TaskState.SUSPENDED and task.id not in alarms
        if asleep and promise is not None and promise.pending:
            yield task.id


def _rows(wrong: Callable[[State, Offer], bool]) -> Callable[[State], Iterator[str]]:
    """The tasks whose outbox row is wrong."""
    return lambda state: (row.task_id for row in state.offers.values() if wrong(state, row))


def _row_ahead(state: State, row: Offer) -> bool:
    task = state.tasks.get(row.task_id)
    return task is not None and row.version > task.version


def _row_astray(state: State, row: Offer) -> bool:
    promise = state.promises.get(row.task_id)
    return promise is not None and row.target != promise.target


def _row_without_offer(state: State, row: Offer) -> bool:
    task = state.tasks.get(row.task_id)
    return task is not None and not (
        task.state is TaskState.PENDING and task.offered and task.version == row.version
    )


def _rows_doubled(state: State) -> Iterator[str]:
    count = Counter(row.task_id for row in state.offers.values())
    yield from (task_id for task_id, rows in count.items() if rows > 1)


OF_STORE: Mapping[str, Callable[[State], Iterator[str]]] = {
    "consistent_task_iff_targeted_promise": _tasks_without_target,
    "consistent_settled_promise_has_fulfilled_task": _settled_unfulfilled,
    "consistent_settled_task_promise_settled": _fulfilled_unsettled,
    "consistent_callback_awaiter_is_targeted": _awaiters_without_task,
    "consistent_suspended_task_holds_rung": _asleep_without_alarm,
    "consistent_outbox_execute_names_existing_task": _rows(
        lambda state, row: row.task_id not in state.tasks
    ),
    "consistent_outbox_never_ahead": _rows(_row_ahead),
    "consistent_outbox_execute_address_is_target_tag": _rows(_row_astray),
    "well_formed_store_outbox_keys_unique": _rows_doubled,
    "consistent_outbox_execute_only_for_offered_task": _rows(_row_without_offer),
}
