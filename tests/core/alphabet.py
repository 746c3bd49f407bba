"""Requests from a small, adversarial alphabet: few ids, holders, tickets and versions.

Whoever picks decides: hypothesis, or a seeded random generator. Two times out of three a request
names the lease that stands, so that walks go deep; the third time it names anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from resonate_amqp.core.leases import DOUBT_MS
from resonate_amqp.core.model import (
    BRANCH,
    CLIENT_VERDICTS,
    DELAY,
    DETACHED,
    EMPTY,
    EXTERNAL,
    TARGET,
    TIMER,
    PromiseState,
    Task,
    TaskState,
    Value,
)
from resonate_amqp.core.reports import PromiseReport
from resonate_amqp.core.requests import (
    Group,
    Lease,
    PromiseCreate,
    PromiseGet,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Request,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskLease,
    TaskRedrive,
    TaskRelease,
    TaskSuspend,
)
from resonate_amqp.core.timetable import (
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
    ScheduleResume,
    ScheduleTrigger,
)

IDS = ("r", "r:1", "r:2", "s", "s:1")
HOLDERS = ("h1", "h2", "h3")
TICKETS = ("t1", "t2", "")
ADDRESSES = ("resonate.reply.g.p.1", "resonate.reply.g.p.2")
CRONS = ("*/5 * * * * *", "*/20 * * * * *")
VALUES = (EMPTY, Value({"error": "ValueError"}, "MQ=="), Value({}, "Mg=="))

T = TypeVar("T")


class Pick(Protocol):
    """Chooses one of several."""

    def __call__(self, options: Sequence[T], /) -> T: ...


class Alphabet:
    """Draws requests that mean something to the tasks as they stand at `now`."""

    def __init__(
        self, pick: Pick, tasks: Mapping[str, Task], now: int, ids: Sequence[str] = IDS
    ) -> None:
        self._ids = ids
        self._pick = pick
        self._tasks = tasks
        self._now = now

    def group(self, longest: int = 4) -> Group:
        size = self._pick((1, 1, 2, longest))
        steps = tuple(self.request() for _ in range(size))
        return Group(id=self._pick(("g1", "g2", "g3")), steps=steps)

    def request(self) -> Request:
        return self._pick(_DRAWS)(self)

    def create(self) -> PromiseCreate:
        return self._create(self._id())

    def settle(self) -> PromiseSettle:
        return self._settle(self._issued())

    def report(self) -> PromiseReport:
        settled = self._pick((PromiseState.RESOLVED, PromiseState.REJECTED))
        readings = (None, "it is not JSON", (settled, self._pick(VALUES)))
        return PromiseReport(id=self._issued(), readings={"poll": self._pick(readings)})

    def get(self) -> Request:
        reads: tuple[Request, ...] = (PromiseGet(id=self._issued()), TaskGet(id=self._id()))
        return self._pick(reads)

    def callback(self) -> PromiseRegisterCallback:
        return PromiseRegisterCallback(awaited=self._issued(), awaiter=self._issued())

    def listener(self) -> PromiseRegisterListener:
        return PromiseRegisterListener(awaited=self._issued(), address=self._pick(ADDRESSES))

    def create_task(self) -> TaskCreate:
        holder = self._pick((*HOLDERS, "p1"))
        action = self._create(self._issued())
        ttl = self._pick((self._ttl(), 2 * DOUBT_MS))
        again = self._pick((False, True))
        return TaskCreate(pid="p1", ttl=ttl, holder=holder, action=action, redelivered=again)

    def acquire(self) -> TaskAcquire:
        task_id = self._issued()
        task = self._tasks.get(task_id)
        exact = task is not None and self._mostly()
        version = task.version if task is not None and exact else self._pick(range(3))
        holder = self._pick((*HOLDERS, "p1")) if self._mostly() else ""
        return TaskAcquire(
            id=task_id,
            version=version,
            pid="p1",
            ttl=self._ttl(),
            holder=holder,
            ticket=self._pick(TICKETS),
            redelivered=self._pick((False, True)),
            redeliveries=self._pick((-1, 0, 1, 2)),
        )

    def fence(self) -> TaskFence:
        lease = self._lease()
        children = [f"{lease.id}{':' if ':' not in lease.id else '.'}{n}" for n in (1, 2)]
        child = self._pick(children) if self._mostly() else self._id()
        write = self._create if self._mostly() else self._settle
        action: PromiseCreate | PromiseSettle = write(child)
        return TaskFence(id=lease.id, version=lease.version, holder=lease.holder, action=action)

    def suspend(self) -> TaskSuspend:
        lease = self._lease()
        awaited = tuple(self._issued(lease.id) for _ in range(self._pick((0, 1, 1, 1, 2))))
        return TaskSuspend(id=lease.id, version=lease.version, holder=lease.holder, awaited=awaited)

    def fulfill(self) -> TaskFulfill:
        lease = self._lease()
        action = self._settle(self._pick((lease.id, lease.id, lease.id, self._id())))
        return TaskFulfill(id=lease.id, version=lease.version, holder=lease.holder, action=action)

    def release(self) -> TaskRelease:
        lease = self._lease()
        return TaskRelease(
            id=lease.id,
            version=lease.version,
            holder=lease.holder,
            delay=self._pick((0, 0, 100, -1)),
            unknown=self._pick(("", "no such function")),
        )

    def move(self) -> TaskLease:
        lease = self._lease()
        return TaskLease(id=lease.id, version=lease.version, holder=lease.holder, ttl=self._ttl())

    def heartbeat(self) -> TaskHeartbeat:
        return TaskHeartbeat(pid="p1", tasks=(self._lease(), self._lease()))

    def halt(self) -> Request:
        reason = self._pick(("", "why"))
        if self._pick((True, False)):
            return TaskHalt(id=self._issued(), reason=reason)
        lease = self._lease()
        return TaskHalt(id=lease.id, reason=reason, version=lease.version, holder=lease.holder)

    def revive(self) -> Request:
        halted = self._in(TaskState.HALTED)
        kinds: tuple[Callable[..., Request], ...] = (TaskContinue, TaskRedrive)
        return self._pick(kinds)(id=self._pick(halted).id if halted else self._issued())

    def schedule(self) -> Request:
        schedule_id = self._pick([known for known in self._ids if ":" not in known])
        if self._pick((True, False)):
            target: dict[str, str] = {TARGET: "poll://any@a"} if self._mostly() else {}
            return ScheduleCreate(
                id=schedule_id,
                cron=self._pick(CRONS) if self._mostly() else "0 0 30 2 *",
                param=self._pick(VALUES),
                tags=target,
                timeout_ms=self._pick((1, 5_000, 50_000)),
            )
        if self._mostly():
            others: tuple[Request, ...] = (
                ScheduleGet(id=schedule_id),
                ScheduleDelete(id=schedule_id),
                SchedulePause(id=schedule_id),
                ScheduleResume(id=schedule_id),
            )
            return self._pick(others)
        called = f"{schedule_id}.{self._pick(range(3)):015}Z" if self._mostly() else self._id()
        return ScheduleTrigger(id=schedule_id, promise_id=called)

    def _id(self) -> str:
        return self._pick(self._ids)

    def _issued(self, besides: str = "") -> str:
        """Mostly the id of a task that is there."""
        known = [task_id for task_id in self._ids if task_id in self._tasks]
        others = [task_id for task_id in known if task_id != besides]
        return self._pick(others) if others and self._mostly() else self._id()

    def _in(self, state: TaskState) -> list[Task]:
        known = (self._tasks[task_id] for task_id in self._ids if task_id in self._tasks)
        return [task for task in known if task.state is state]

    def _mostly(self) -> bool:
        return self._pick(range(5)) > 0

    def _ttl(self) -> int:
        return self._pick((1, 100, 1_000))

    def _create(self, promise_id: str) -> PromiseCreate:
        now = self._now
        above = promise_id.rpartition("." if "." in promise_id else ":")[0]
        branch = {BRANCH: above or promise_id}
        kinds: tuple[dict[str, str], ...] = (
            {},
            {TARGET: "poll://any@a"},
            {TARGET: "poll://any@a"},
            {TARGET: "poll://any@b", DELAY: str(now + 100)},
            {TARGET: "poll://any@a", DETACHED: "true"},
            {EXTERNAL: "true", "color": "red"},
            {TIMER: "true"},
            {TIMER: "true", TARGET: "poll://any@a"},
        )
        return PromiseCreate(
            id=promise_id,
            timeout_at=now + self._pick((-1, 1, 150, 5_000, 50_000, 50_000)),
            param=self._pick(VALUES),
            tags=branch | self._pick(kinds),
            strict=self._pick((False, False, True)),
        )

    def _settle(self, promise_id: str) -> PromiseSettle:
        states = tuple(CLIENT_VERDICTS) if self._mostly() else tuple(PromiseState)
        state = self._pick(sorted(states))
        return PromiseSettle(id=promise_id, state=state, value=self._pick(VALUES))

    def _lease(self) -> Lease:
        leased = self._in(TaskState.ACQUIRED)
        if leased and self._mostly():
            task = self._pick(leased)
            return Lease(id=task.id, version=task.version, holder=task.holder)
        task_id = self._id()
        ended = self._tasks.get(task_id)
        if ended is not None and self._mostly():
            return Lease(id=task_id, version=ended.last_version, holder=ended.last_holder)
        holder = self._pick((*HOLDERS, ""))
        return Lease(id=task_id, version=self._pick(range(4)), holder=holder)


_DRAWS: tuple[Callable[[Alphabet], Request], ...] = (
    Alphabet.create,
    Alphabet.create,
    Alphabet.create,
    Alphabet.create_task,
    Alphabet.acquire,
    Alphabet.acquire,
    Alphabet.acquire,
    Alphabet.fence,
    Alphabet.fence,
    Alphabet.suspend,
    Alphabet.suspend,
    Alphabet.suspend,
    Alphabet.callback,
    Alphabet.listener,
    Alphabet.settle,
    Alphabet.report,
    Alphabet.release,
    Alphabet.fulfill,
    Alphabet.heartbeat,
    Alphabet.move,
    Alphabet.halt,
    Alphabet.revive,
    Alphabet.get,
    Alphabet.schedule,
    Alphabet.schedule,
)
