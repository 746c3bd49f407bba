"""The records of the machine: promises, tasks and what stands in the outbox.

Names, states and edges are those of the Resonate protocol, version 2026-04-01. Instants end in
`_at` and are epoch milliseconds; durations end in `_ms`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from operator import attrgetter
from typing import Any
from zlib import crc32

PROTOCOL = "2026-04-01"

ORIGIN = "resonate:origin"
PARENT = "resonate:parent"
BRANCH = "resonate:branch"
SCOPE = "resonate:scope"
TARGET = "resonate:target"
TIMER = "resonate:timer"
EXTERNAL = "resonate:external"
DELAY = "resonate:delay"
DETACHED = "resonate:detached"
MIRROR = "resonate:mirror"
DEADLINE = "resonate:deadline"
SCHEDULE = "resonate:schedule"

FUNC = "func"
"""The header of a call's param that names its function."""
DIGEST = "digest"
"""The header of a call's param that stands for the content of the message it was made of."""
SERVICE = "service"
"""The header of a call's param that names the group which took the message it was made of."""

SHARDS = 64
TICK_LENGTH = 17


class PromiseState(StrEnum):
    """States of a promise, in the spelling of the wire; every one but pending is final."""

    PENDING = "pending"
    RESOLVED = "resolved"
    REJECTED = "rejected"
    REJECTED_CANCELED = "rejected_canceled"
    REJECTED_TIMEDOUT = "rejected_timedout"


class TaskState(StrEnum):
    """States of a task; the admissible edges are TASK_EDGES."""

    PENDING = "pending"
    ACQUIRED = "acquired"
    SUSPENDED = "suspended"
    HALTED = "halted"
    FULFILLED = "fulfilled"


CLIENT_VERDICTS = frozenset(
    {PromiseState.RESOLVED, PromiseState.REJECTED, PromiseState.REJECTED_CANCELED}
)

TASK_EDGES: Mapping[TaskState, frozenset[TaskState]] = {
    TaskState.PENDING: frozenset(
        {TaskState.PENDING, TaskState.ACQUIRED, TaskState.HALTED, TaskState.FULFILLED}
    ),
    TaskState.ACQUIRED: frozenset(TaskState),
    TaskState.SUSPENDED: frozenset(
        {TaskState.PENDING, TaskState.SUSPENDED, TaskState.HALTED, TaskState.FULFILLED}
    ),
    TaskState.HALTED: frozenset({TaskState.PENDING, TaskState.HALTED, TaskState.FULFILLED}),
    TaskState.FULFILLED: frozenset({TaskState.FULFILLED}),
}
"""Admissible edges of one task (property `consistent_task_state_edge_admissible`)."""


@dataclass(frozen=True, slots=True)
class Value:
    """Headers, readable by everyone, and data: base64 of JSON, or whatever a codec made of it."""

    headers: Mapping[str, str] = field(default_factory=dict)
    data: str = ""


EMPTY = Value()


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A record with an id that is settled once, at the latest by its deadline.

    `callbacks` are the ids of suspended awaiters, `listeners` the addresses to notify. Once the
    promise is settled, `callbacks` is empty and `listeners` holds the addresses whose unblock is
    not known to be published. `settled_by` is the id of the group that settled it, empty when
    the deadline did.
    """

    id: str
    state: PromiseState
    param: Value
    tags: Mapping[str, str]
    timeout_at: int
    created_at: int
    value: Value = EMPTY
    settled_at: int | None = None
    settled_by: str = ""
    callbacks: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()

    @property
    def pending(self) -> bool:
        return self.state is PromiseState.PENDING

    @property
    def target(self) -> str:
        """Where its function runs; a mirror has none, the promise it names may."""
        return "" if MIRROR in self.tags else self.tags.get(TARGET, "")

    @property
    def mirror(self) -> str:
        """The id of the promise whose outcome this one repeats; empty for any other promise."""
        return self.tags.get(MIRROR, "")

    @property
    def detached(self) -> bool:
        """Whether it outlives the promise whose task issued it."""
        return self.tags.get(DETACHED) == "true"

    @property
    def branch(self) -> str:
        """The promise whose task issued this one; its own id when it came from outside."""
        return self.tags.get(BRANCH, self.id)

    @property
    def timer(self) -> bool:
        return self.tags.get(TIMER) == "true"

    @property
    def external(self) -> bool:
        """Whether others than the task that created it may settle it; only then is it awaited."""
        tags = self.tags
        return TARGET in tags or self.timer or tags.get(EXTERNAL) == "true" or MIRROR in tags

    def but(self, **changes: Any) -> Promise:
        """The promise with other fields; `dataclasses.replace` costs three times as much."""
        return Promise(**dict(zip(_PROMISE_FIELDS, _promise_values(self), strict=True)) | changes)

    def at(self, now: int) -> Promise:
        """The promise as it must be seen at `now`: past its deadline it is settled by it."""
        if self.state is not PromiseState.PENDING or self.timeout_at > now:
            return self
        state = PromiseState.RESOLVED if self.timer else PromiseState.REJECTED_TIMEDOUT
        return self.but(state=state, settled_at=self.timeout_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The right to execute a promise's function; it has the id of its promise.

    `version` rises by one exactly when a pending task is acquired. While acquired, the lease has
    a `holder` (a token drawn for one delivery, or the pid of a TTL lease), a `ttl` in ms and an
    `expires_at`; `ticket` names the execute it was acquired under and is empty on a TTL lease;
    `redeliveries` is the broker's delivery count at that moment. `last_holder` and
    `last_version` outlive the lease, so that a repeated request is answered as before.
    `deliveries` counts takeovers and lease expiries since the task last recorded progress.
    `retry_at` is when a pending task is (or was) to be offered; `offered` tells whether it was.
    """

    id: str
    state: TaskState
    version: int = 0
    resumes: tuple[str, ...] = ()
    pid: str | None = None
    ttl: int | None = None
    expires_at: int | None = None
    retry_at: int | None = None
    offered: bool = False
    holder: str = ""
    ticket: str = ""
    redeliveries: int = 0
    last_holder: str = ""
    last_version: int = 0
    deliveries: int = 0
    acquired_at: int | None = None
    reason: str = ""

    def but(self, **changes: Any) -> Task:
        """The task with other fields; see `Promise.but`."""
        return Task(**dict(zip(_TASK_FIELDS, _task_values(self), strict=True)) | changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A call that is made at every tick of a cron expression, which is read in UTC.

    `param` and `tags` are those of each call, and `timeout_ms` how long one may take from when
    it is made. `last_at` is the last tick for which one was made, `next_at` the first for which
    none was; None when there is none. While it is paused, ticks pass unheeded.
    """

    id: str
    cron: str
    param: Value
    tags: Mapping[str, str]
    timeout_ms: int
    created_at: int
    next_at: int | None
    last_at: int | None = None
    paused: bool = False


_PROMISE_FIELDS = tuple(one.name for one in fields(Promise))
_promise_values = attrgetter(*_PROMISE_FIELDS)
_TASK_FIELDS = tuple(one.name for one in fields(Task))
_task_values = attrgetter(*_TASK_FIELDS)


@dataclass(frozen=True, slots=True)
class Offer:
    """An outbox row: the task's execute is to be published to its target until confirmed.

    `repeat` when an execute of the same entry into `pending` may have been published before.
    """

    serial: int
    task_id: str
    version: int
    target: str
    repeat: bool = field(default=False, compare=False)


def origin_of(promise_id: str) -> str:
    """The text before the first colon: the root of the tree a promise belongs to."""
    return promise_id.partition(":")[0]


def child_id(parent_id: str, number: int) -> str:
    """`origin:1`, `origin:1.2`, …: the id of a promise's n-th child, counted from 1."""
    return f"{parent_id}{'.' if ':' in parent_id else ':'}{number}"


def shard_of(promise_id: str) -> int:
    """The shard, 0…63, that keeps the promise: CRC-32 of its origin, the same everywhere.

    What a schedule calls is kept where the schedule is: an ending like that of a tick,
    `.20260101T120000Z`, does not count.
    """
    root = origin_of(promise_id)
    while root[-1:] == "Z" and root[-TICK_LENGTH:-16] == ".":
        root = root[:-TICK_LENGTH]
    return crc32(root.encode()) % SHARDS
