"""One frozen class per request of the protocol, and the response to any of them.

A request's wire kind is the class's `kind`. Leases: a request that acts under one names the
task's `version` and the `holder` the lease was acquired by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from resonate_amqp.core.model import (
    EMPTY,
    Promise,
    PromiseState,
    Schedule,
    Task,
    TaskState,
    Value,
)
from resonate_amqp.core.pages import Cursor
from resonate_amqp.core.reports import PromiseReport
from resonate_amqp.core.timetable import ScheduleRequest, ScheduleSearch, ScheduleTrigger


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseGet:
    """Read a promise."""

    kind: ClassVar[str] = "promise.get"
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseCreate:
    """Create a promise due at `timeout_at` (epoch ms), and a task if its tags name a target.

    With `strict` an existing promise that was asked for something else is refused with 409.
    """

    kind: ClassVar[str] = "promise.create"
    id: str
    timeout_at: int
    param: Value = EMPTY
    tags: Mapping[str, str] = field(default_factory=dict)
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseSettle:
    """Settle a promise: resolved, rejected or rejected_canceled."""

    kind: ClassVar[str] = "promise.settle"
    id: str
    state: PromiseState
    value: Value = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseRegisterCallback:
    """Resume the task `awaiter` when `awaited` is settled."""

    kind: ClassVar[str] = "promise.register_callback"
    awaited: str
    awaiter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseRegisterListener:
    """Send `awaited` to `address`, a reply queue, when it is settled."""

    kind: ClassVar[str] = "promise.register_listener"
    awaited: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskGet:
    """Read a task and its promise."""

    kind: ClassVar[str] = "task.get"
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCreate:
    """Create a promise together with its task, acquired under a TTL lease of `ttl` ms.

    `redelivered` tells that the broker took the message behind it back from somebody: who holds
    the task under a TTL lease may be gone.
    """

    kind: ClassVar[str] = "task.create"
    pid: str
    ttl: int
    holder: str
    action: PromiseCreate
    redelivered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAcquire:
    """Acquire a pending task.

    With a `ticket` the lease is a delivery lease; `redelivered` and `redeliveries` are what the
    broker says of the delivery that carried the ticket (-1: it gives no count).
    """

    kind: ClassVar[str] = "task.acquire"
    id: str
    version: int
    pid: str
    ttl: int
    holder: str
    ticket: str = ""
    redelivered: bool = False
    redeliveries: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFence:
    """Run `action` only while the lease holds; an action that would write nothing always runs."""

    kind: ClassVar[str] = "task.fence"
    id: str
    version: int
    holder: str
    action: PromiseCreate | PromiseSettle


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lease as its holder names it in a heartbeat."""

    id: str
    version: int
    holder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskHeartbeat:
    """Refresh leases of either kind; the answer names the holders of those that are lost."""

    kind: ClassVar[str] = "task.heartbeat"
    pid: str
    tasks: tuple[Lease, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSuspend:
    """Give the lease up until one of `awaited` is settled."""

    kind: ClassVar[str] = "task.suspend"
    id: str
    version: int
    holder: str
    awaited: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFulfill:
    """Settle the task's own promise as its holder."""

    kind: ClassVar[str] = "task.fulfill"
    id: str
    version: int
    holder: str
    action: PromiseSettle


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRelease:
    """Give the task up; it is offered again after `delay` ms.

    `unknown` says what the worker lacks to run it: such a release counts as a delivery without
    progress, and after too many of them the task is halted for that reason.
    """

    kind: ClassVar[str] = "task.release"
    id: str
    version: int
    holder: str
    delay: int = 0
    unknown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLease:
    """Turn a delivery lease into a TTL lease of `ttl` ms, at the same version.

    The delivery that carried the ticket is void afterwards, whoever receives it.
    """

    kind: ClassVar[str] = "task.lease"
    id: str
    version: int
    holder: str
    ttl: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskHalt:
    """Stop a task, for a reason, until somebody continues it.

    With a `holder` only as the holder of the lease; without one whoever holds the task.
    """

    kind: ClassVar[str] = "task.halt"
    id: str
    reason: str = ""
    version: int = 0
    holder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContinue:
    """Offer a halted task again."""

    kind: ClassVar[str] = "task.continue"
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRedrive:
    """Offer a pending or halted task again now, whatever was published for it before."""

    kind: ClassVar[str] = "task.redrive"
    id: str


Request = (
    PromiseGet
    | PromiseCreate
    | PromiseSettle
    | PromiseRegisterCallback
    | PromiseRegisterListener
    | PromiseReport
    | TaskGet
    | TaskCreate
    | TaskAcquire
    | TaskFence
    | TaskHeartbeat
    | TaskSuspend
    | TaskFulfill
    | TaskRelease
    | TaskLease
    | TaskHalt
    | TaskContinue
    | TaskRedrive
    | ScheduleRequest
)


@dataclass(frozen=True, slots=True)
class OriginGet:
    """Every promise of one tree, oldest first: a query, answered outside the machine.

    With a `cursor` a query is answered page by page: by what comes after it, and by the next
    cursor where there is more.
    """

    kind: ClassVar[str] = "origin.get"
    id: str
    limit: int = 1000
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSearch:
    """Tasks in `states`, state by state, longest in it first: a query, outside the machine.

    Pending tasks that are not offered yet are left out; `before` (epoch ms) leaves out those
    offered later, and leases acquired later. `after` leaves out what is earlier; it does not
    travel.
    """

    kind: ClassVar[str] = "task.search"
    states: tuple[TaskState, ...]
    before: int
    limit: int = 1000
    after: int = 0
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseSearch:
    """Promises that have the tag `name` with this value, the oldest first: a query."""

    kind: ClassVar[str] = "promise.search"
    name: str
    value: str
    limit: int = 1000
    cursor: Cursor | None = None


Query = OriginGet | PromiseSearch | TaskSearch | ScheduleSearch


class Verdict(StrEnum):
    """What a refused acquire tells the worker to do with its delivery."""

    ACK = "ack"
    RETURN = "return"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The answer to one request.

    `status` is the protocol's: 200 done, 300 suspend refused because something awaited is
    settled, 400 bad request, 404 absent, 409 not in that state, 422 cannot be awaited, 500 failed.
    `preload` are settled children of the task, `more` that there are others.
    `lost` are holders whose lease no longer stands.
    `applied` tells whether this request, or an earlier copy of it, is what settled `promise`.
    """

    status: int
    promise: Promise | None = None
    task: Task | None = None
    preload: tuple[Promise, ...] = ()
    more: bool = False
    applied: bool = False
    lost: tuple[str, ...] = ()
    verdict: Verdict | None = None
    schedule: Schedule | None = None
    error: str = ""

    @property
    def ok(self) -> bool:
        return self.status < 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Requests of one task or one client call, in order; a failure skips the rest of them."""

    id: str
    steps: tuple[Request | Query, ...]

    @property
    def query(self) -> Query | None:
        """The query, which is alone in its group; None for requests."""
        first = self.steps[0]
        return first if isinstance(first, Query) else None

    @property
    def about(self) -> str:
        """The id of what the group is about first; empty when it is about no promise."""
        first = self.steps[0]
        if isinstance(first, Query):
            return first.id if isinstance(first, OriginGet) else ""
        return next(iter(footprint(first)), "")


@dataclass(frozen=True, slots=True)
class Mirrored:
    """The outcome of the promise that the mirror `id` names, or why it cannot be awaited."""

    id: str
    state: PromiseState
    value: Value


def footprint(request: Request) -> tuple[str, ...]:
    """The ids whose records the request is sure to touch, so that they can be loaded at once."""
    match request:
        case TaskFence(id=task_id, action=action):
            return (task_id, action.id)
        case TaskCreate(action=action):
            return (action.id,)
        case TaskSuspend(id=task_id, awaited=awaited):
            return (task_id, *awaited)
        case TaskHeartbeat(tasks=tasks):
            return tuple(lease.id for lease in tasks)
        case PromiseRegisterCallback(awaited=promise_id, awaiter=awaiter):
            return (promise_id, awaiter)
        case PromiseRegisterListener(awaited=promise_id):
            return (promise_id,)
        case ScheduleTrigger(promise_id=promise_id):
            return (promise_id,)
        case _:
            return (request.id,)
