"""Queries: what a ledger asks its tables, for the shards that its queue keeps.

Every statement but the tree's binds `of`, the queue's number.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, case, or_, select, text, tuple_, update

from resonate_amqp.core.model import TaskState
from resonate_amqp.ledgers.records import PAIRS
from resonate_amqp.ledgers.tables import (
    ledger_queues,
    listeners,
    mirrors,
    outbox,
    promises,
    shards,
    tags,
    tasks,
)

# SQLite uses a partial index only where a query says the very words of its condition.
_PENDING_PROMISES = text("promises.state = 'pending'")
_WORDS = {
    TaskState.PENDING: text("tasks.state = 'pending' AND tasks.offered"),
    TaskState.ACQUIRED: text("tasks.state = 'acquired'"),
    TaskState.SUSPENDED: text("tasks.state = 'suspended'"),
    TaskState.HALTED: text("tasks.state = 'halted'"),
    TaskState.FULFILLED: text("tasks.state = 'fulfilled'"),
}
_DELAYED = text("tasks.state = 'pending' AND NOT tasks.offered")

_OWN = select(shards.c.shard).where(shards.c.queue == bindparam("of"))
_OWN_PROMISES = promises.c.shard.in_(_OWN)
_OWN_TASKS = tasks.c.shard.in_(_OWN)

SINCE: dict[TaskState, Any] = {
    TaskState.PENDING: tasks.c.retry_at,
    TaskState.ACQUIRED: tasks.c.acquired_at,
    TaskState.SUSPENDED: None,
    TaskState.HALTED: None,
    TaskState.FULFILLED: None,
}

_NOW = case(
    (ledger_queues.c.now < bindparam("clock"), bindparam("clock")), else_=ledger_queues.c.now
)
BEGIN_BATCH = (
    update(ledger_queues)
    .where(ledger_queues.c.queue == bindparam("of"), ledger_queues.c.generation == bindparam("by"))
    .values(now=_NOW)
    .returning(ledger_queues.c.now)
)
PROMOTE = (
    update(ledger_queues)
    .where(ledger_queues.c.queue == bindparam("of"))
    .values(generation=ledger_queues.c.generation + 1, now=_NOW)
    .returning(ledger_queues.c.generation)
)
UNDELIVERED = (
    PAIRS.add_columns(outbox.c.serial, outbox.c.target, outbox.c.version.label("offered_version"))
    .join(outbox, outbox.c.task_id == promises.c.id)
    .where(_OWN_PROMISES)
)
UNNOTIFIED = (
    PAIRS.add_columns(listeners.c.address)
    .join(listeners, listeners.c.awaited == promises.c.id)
    .where(promises.c.state != "pending", _OWN_PROMISES)
)
MIRRORS = PAIRS.join(mirrors, mirrors.c.id == promises.c.id).where(_OWN_PROMISES)
OWNERS = select(shards.c.queue).order_by(shards.c.shard)
DUE_PROMISES = (
    PAIRS.where(
        _PENDING_PROMISES,
        promises.c.external,
        promises.c.timeout_at < bindparam("horizon"),
        _OWN_PROMISES,
    )
    .order_by(promises.c.timeout_at)
    .limit(bindparam("most"))
)
DUE_LEASES = (
    select(tasks)
    .where(_WORDS[TaskState.ACQUIRED], tasks.c.expires_at < bindparam("horizon"), _OWN_TASKS)
    .order_by(tasks.c.expires_at)
    .limit(bindparam("most"))
)
DUE_RETRIES = (
    select(tasks)
    .where(
        _DELAYED,
        tasks.c.retry_at < bindparam("horizon"),
        _OWN_TASKS,
    )
    .order_by(tasks.c.retry_at)
    .limit(bindparam("most"))
)
_AFTER = tuple_(bindparam("at"), bindparam("id"))
"""The cursor's place: what comes after it is compared as a whole."""

_BY_AGE = tuple_(promises.c.created_at, promises.c.id)
TREE = (
    PAIRS.where(promises.c.origin == bindparam("root"), _BY_AGE > _AFTER)
    .order_by(promises.c.created_at, promises.c.id)
    .limit(bindparam("most"))
)
TAGGED = (
    PAIRS.join(tags, tags.c.promise_id == promises.c.id)
    .where(
        tags.c.name == bindparam("tag"),
        tags.c.value == bindparam("is"),
        _OWN_PROMISES,
        _BY_AGE > _AFTER,
    )
    .order_by(promises.c.created_at, promises.c.id)
    .limit(bindparam("most"))
)
_TASKS = select(*PAIRS.selected_columns).select_from(
    tasks.join(promises, promises.c.id == tasks.c.id)
)


def _searched(state: TaskState, since: Any) -> Any:
    place = promises.c.created_at if since is None else since
    wanted: list[Any] = [_WORDS[state], _OWN_TASKS, tuple_(place, promises.c.id) > _AFTER]
    if since is not None:
        wanted += [since < bindparam("before"), since >= bindparam("after")]
    if state is not TaskState.FULFILLED:
        wanted.append(promises.c.timeout_at > bindparam("now"))
    return _TASKS.where(*wanted).order_by(place, promises.c.id).limit(bindparam("most"))


SEARCHED = {state: _searched(state, since) for state, since in SINCE.items()}
UNFINISHED = select(tasks.c.id).where(
    or_(tasks.c.state == "acquired", tasks.c.state == "pending"), _OWN_TASKS
)
