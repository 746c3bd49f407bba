"""A memory ledger under a clock set by hand, and short names for the requests.

Every transition taken through a World is checked against the invariants.
"""

from __future__ import annotations

from resonate_amqp.core.batch import Batch, Outcome
from resonate_amqp.core.effects import Limits
from resonate_amqp.core.invariants import State, check_state, check_step
from resonate_amqp.core.model import (
    EMPTY,
    EXTERNAL,
    TARGET,
    TIMER,
    Offer,
    Promise,
    PromiseState,
    Schedule,
    Task,
    Value,
)
from resonate_amqp.core.requests import (
    Group,
    Lease,
    PromiseCreate,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Request,
    Response,
    TaskAcquire,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskHalt,
    TaskHeartbeat,
    TaskLease,
    TaskRelease,
    TaskSuspend,
)
from resonate_amqp.core.timers import Timer, TimerKind
from resonate_amqp.core.timetable import ScheduleCreate
from resonate_amqp.ledgers.memory import MemoryLedger

NOW = 1_000
DEADLINE = 10_000
TARGET_A = "poll://any@a"
TTL = 600


class World:
    """One promoted ledger and its clock, which starts at NOW."""

    def __init__(self, max_deliveries: int = 10) -> None:
        self.ledger = MemoryLedger(Limits(max_deliveries))
        self.now = NOW
        self.ledger.promote(NOW)
        self.outcome = Outcome(NOW, (), (), (), ())

    def ask(self, request: Request, group: str = "g") -> Response:
        """The answer to one request, in a group of its own."""
        self.outcome = self.apply(Batch(groups=(Group(id=group, steps=(request,)),)))
        return self.outcome.answers[0][0]

    def run(self, *requests: Request, group: str = "g") -> list[Response]:
        """The answers to one group, taken a request at a time so that each is checked."""
        responses: list[Response] = []
        for request in requests:
            responses.append(self.ask(request, group))
            if not responses[-1].ok:
                break
        return responses

    def fire(self, kind: TimerKind, promise_id: str, heard_since: int = 0) -> Outcome:
        timer = Timer(self.now, kind, promise_id)
        self.outcome = self.apply(Batch(timers=(timer,), heard_since=heard_since))
        return self.outcome

    def apply(self, batch: Batch) -> Outcome:
        """Apply a batch of at most one transition."""
        before = self.state()
        outcome = self.ledger.apply(batch, self.now)
        after = self.state()
        violations = check_state(after.promises, after.tasks, after.offers, after.schedules)
        violations += check_step(before, after, self.now, batch.confirmed)
        assert not violations, violations
        return outcome

    def state(self) -> State:
        ledger = self.ledger
        return State(
            dict(ledger.promises),
            dict(ledger.tasks),
            dict(ledger.offers),
            dict(ledger.schedules),
        )

    def promise(self, promise_id: str) -> Promise:
        return self.ledger.promises[promise_id]

    def task(self, task_id: str) -> Task:
        return self.ledger.tasks[task_id]

    def schedule(self, schedule_id: str) -> Schedule:
        return self.ledger.schedules[schedule_id]

    def rows(self, task_id: str) -> list[Offer]:
        return [row for row in self.ledger.offers.values() if row.task_id == task_id]


def call(promise_id: str, timeout_at: int = DEADLINE, **tags: str) -> PromiseCreate:
    """A call of a function elsewhere: a promise with a task. `tags` are `resonate:` tags."""
    named = {f"resonate:{name}": value for name, value in tags.items()}
    return PromiseCreate(id=promise_id, timeout_at=timeout_at, tags={TARGET: TARGET_A} | named)


def timer(promise_id: str, timeout_at: int = DEADLINE) -> PromiseCreate:
    return PromiseCreate(id=promise_id, timeout_at=timeout_at, tags={TIMER: "true"})


def external(promise_id: str, timeout_at: int = DEADLINE, **tags: str) -> PromiseCreate:
    """A promise that somebody outside settles. `tags` are `resonate:` tags."""
    named = {f"resonate:{name}": value for name, value in tags.items()}
    return PromiseCreate(id=promise_id, timeout_at=timeout_at, tags={EXTERNAL: "true"} | named)


def internal(promise_id: str, timeout_at: int = DEADLINE) -> PromiseCreate:
    """A local step: only the task that created it settles it."""
    return PromiseCreate(id=promise_id, timeout_at=timeout_at)


def scheduled(
    schedule_id: str, cron: str = "*/5 * * * * *", timeout_ms: int = DEADLINE, **tags: str
) -> ScheduleCreate:
    """A schedule of calls elsewhere. `tags` are `resonate:` tags."""
    named = {f"resonate:{name}": value for name, value in tags.items()}
    return ScheduleCreate(
        id=schedule_id,
        cron=cron,
        param=EMPTY,
        tags={TARGET: TARGET_A} | named,
        timeout_ms=timeout_ms,
    )


def settle(
    promise_id: str, state: PromiseState = PromiseState.RESOLVED, value: Value = EMPTY
) -> PromiseSettle:
    return PromiseSettle(id=promise_id, state=state, value=value)


def callback(awaited: str, awaiter: str) -> PromiseRegisterCallback:
    return PromiseRegisterCallback(awaited=awaited, awaiter=awaiter)


def listener(awaited: str, address: str = "resonate.reply.g.p.1") -> PromiseRegisterListener:
    return PromiseRegisterListener(awaited=awaited, address=address)


def created(action: PromiseCreate, holder: str = "h1", ttl: int = TTL) -> TaskCreate:
    return TaskCreate(pid="p1", ttl=ttl, holder=holder, action=action)


def acquire(
    task_id: str,
    version: int = 0,
    holder: str = "h1",
    ticket: str = "t1",
    *,
    redelivered: bool = False,
    redeliveries: int = -1,
    ttl: int = TTL,
) -> TaskAcquire:
    return TaskAcquire(
        id=task_id,
        version=version,
        pid="p1",
        ttl=ttl,
        holder=holder,
        ticket=ticket,
        redelivered=redelivered,
        redeliveries=redeliveries,
    )


def redelivery(
    task_id: str, holder: str = "h2", ticket: str = "t1", count: int = 1, version: int = 0
) -> TaskAcquire:
    """The acquire of a delivery that the broker returned to its queue `count` times."""
    return acquire(task_id, version, holder, ticket, redelivered=True, redeliveries=count)


def fence(
    task_id: str, action: PromiseCreate | PromiseSettle, version: int = 1, holder: str = "h1"
) -> TaskFence:
    return TaskFence(id=task_id, version=version, holder=holder, action=action)


def suspend(task_id: str, *awaited: str, version: int = 1, holder: str = "h1") -> TaskSuspend:
    return TaskSuspend(id=task_id, version=version, holder=holder, awaited=awaited)


def fulfill(
    task_id: str,
    version: int = 1,
    holder: str = "h1",
    state: PromiseState = PromiseState.RESOLVED,
    value: Value = EMPTY,
) -> TaskFulfill:
    action = PromiseSettle(id=task_id, state=state, value=value)
    return TaskFulfill(id=task_id, version=version, holder=holder, action=action)


def release(task_id: str, version: int = 1, holder: str = "h1", delay: int = 0) -> TaskRelease:
    return TaskRelease(id=task_id, version=version, holder=holder, delay=delay)


def unknown(task_id: str, version: int = 1, holder: str = "h1", lack: str = "no f") -> TaskRelease:
    """A release by a worker that lacks what it needs to run the task."""
    return TaskRelease(id=task_id, version=version, holder=holder, delay=5, unknown=lack)


def lease(task_id: str, version: int = 1, holder: str = "h1", ttl: int = 60) -> TaskLease:
    """The move of a delivery lease to a TTL lease."""
    return TaskLease(id=task_id, version=version, holder=holder, ttl=ttl)


def halt(task_id: str, version: int = 1, holder: str = "h1", reason: str = "why") -> TaskHalt:
    """A halt by the holder of the lease."""
    return TaskHalt(id=task_id, reason=reason, version=version, holder=holder)


def heartbeat(task_id: str, version: int = 1, holder: str = "h1") -> TaskHeartbeat:
    lease = Lease(id=task_id, version=version, holder=holder)
    return TaskHeartbeat(pid="p1", tasks=(lease,))
