"""Claims: messages of queues that are not ours, whose promise is executed where they arrived.

A claim creates a promise, if it is not there yet, and acquires its task at once under a TTL
lease. So the message may stay with its own consumer until the outcome is recorded; and when that
consumer dies, the ledger offers the task to the promise's target, or the message's redelivery
claims it again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from resonate_amqp.core.model import DIGEST, FUNC, SERVICE, Promise, Task, TaskState
from resonate_amqp.core.requests import PromiseCreate, Response, TaskCreate, TaskRelease
from resonate_amqp.errors import Conflict, LedgerError, ResonateError, UsageError
from resonate_amqp.runtime.ending import Ending
from resonate_amqp.runtime.locally import AS_EVER, LocalSteps
from resonate_amqp.runtime.session import Session
from resonate_amqp.wire.differences import difference_of
from resonate_amqp.wire.envelope import Reply


class OtherService(Conflict):
    """The id stands for the execution of another group, which got a copy of the same message."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The task is ours, and its body is about to run in this process.

    `version` counts how often the task was taken by somebody, this time included.
    """

    version: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Settled:
    """The promise has an outcome, whoever reached it and whenever."""

    promise: Promise


@dataclass(frozen=True, slots=True)
class Left:
    """Our body left without an outcome; suspended, its task goes on from the target."""

    ending: Ending


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The task is not ours: held by somebody, suspended or halted."""

    task: Task


@dataclass(frozen=True, slots=True)
class Failed:
    """The claim was refused for good; with a Conflict when the id stands for another call."""

    error: ResonateError


Claimed = Begun | Settled | Left | Elsewhere | Failed


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """One claim: the call, and who is told what becomes of it, on the session's thread.

    First comes Begun, Settled, Elsewhere or Failed; after Begun one of Settled and Left, or Failed
    when nothing is heard of the ledger any more. The body of an impatient claim is parked as soon
    as it waits for what others settle, and takes no slot. `steps` tell of its local functions.
    """

    create: PromiseCreate
    told: Callable[[Claimed], None]
    redelivered: bool = False
    patient: bool = True
    steps: LocalSteps = AS_EVER


Adopt = Callable[[Promise, int, str, Response, Claim], None]
"""Runs the body of a task: its promise, version, holder, and the answer that acquired it."""


class Claims:
    """Claims on their way; patient ones wait here until a slot is free."""

    def __init__(self, session: Session, adopt: Adopt) -> None:
        self._session = session
        self._adopt = adopt
        self._waiting: deque[Claim] = deque()
        self._open: set[Claim] = set()
        self._asked = 0

    def __len__(self) -> int:
        """How many slots are taken by claims without an answer."""
        return self._asked

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def add(self, claim: Claim) -> None:
        self._open.add(claim)
        if claim.patient:
            self._waiting.append(claim)
        else:
            self._ask(claim)

    def begin(self, free: int) -> None:
        """There are so many free slots."""
        while self._waiting and free > 0:
            free -= 1
            self._ask(self._waiting.popleft())

    def left(self, claim: Claim, ending: Ending, settled: Promise | None) -> None:
        """The body of a claim has left."""
        self._end(claim, Left(ending) if settled is None else Settled(settled))

    def fail_all(self, error: ResonateError) -> None:
        """Nothing is heard of the ledger any more."""
        for claim in list(self._open):
            self._end(claim, Failed(error))

    def _end(self, claim: Claim, what: Claimed) -> None:
        if claim in self._open:
            self._open.discard(claim)
            claim.told(what)

    def _ask(self, claim: Claim) -> None:
        self._asked += claim.patient
        step = TaskCreate(
            pid=self._session.pid,
            ttl=self._session.ttl_ms,
            holder=self._session.random.token(),
            action=claim.create,
            redelivered=claim.redelivered,
        )
        self._session.calls.send(
            [step], lambda reply: self._answered(claim, step, reply), about=claim.create.id
        )

    def _answered(self, claim: Claim, step: TaskCreate, reply: Reply | ResonateError) -> None:
        self._asked -= claim.patient
        if isinstance(reply, ResonateError):
            self._end(claim, Failed(reply))
            return
        response = reply.responses[0]
        promise, task = response.promise, response.task
        taken = None if promise is None else _taken(promise, claim.create)
        if promise is None or (task is None and taken is None):
            refused = LedgerError if response.status >= 500 else UsageError
            self._end(claim, Failed(refused(response.error)))
        elif taken is not None or task is None:
            if task is not None and promise.pending and self._ours(response, task):
                self._give_back(task, step.holder)
            self._end(claim, Failed(taken or UsageError(response.error)))
        elif not promise.pending:
            self._end(claim, Settled(promise))
        elif self._ours(response, task):
            claim.told(Begun(task.version))
            self._adopt(promise, task.version, step.holder, response, claim)
        else:
            self._end(claim, Elsewhere(task))

    def _ours(self, response: Response, task: Task) -> bool:
        acquired = response.ok and task.state is TaskState.ACQUIRED
        return acquired and task.pid == self._session.pid

    def _give_back(self, task: Task, holder: str) -> None:
        """Release a task that nobody here can run; if that is lost, its lease ends by itself."""
        release = TaskRelease(id=task.id, version=task.version, holder=holder)
        self._session.calls.send([release], lambda _: None, about=task.id)


def _taken(promise: Promise, create: PromiseCreate) -> ResonateError | None:
    """Why the promise that has the id stands for another call; None if it is the very same."""
    was, now = promise.param.headers, create.param.headers
    if was.get(FUNC) != now.get(FUNC):
        return Conflict(
            f"id {promise.id!r} is taken by a call of {was.get(FUNC)!r}; use another id"
        )
    if SERVICE in was and SERVICE in now and was[SERVICE] != now[SERVICE]:
        return OtherService(
            f"id {promise.id!r} is taken by a copy of the message in group {was[SERVICE]!r}"
        )
    if DIGEST not in now or was.get(DIGEST, now[DIGEST]) == now[DIGEST]:
        return None
    return Conflict(
        f"id {promise.id!r} is taken by a message with other content, whose promise is "
        f"{promise.state} ({difference_of(promise.param, create.param)}); use an id of its own for "
        "each message"
    )
