"""Body: one acquired task, from its lease to its outcome.

It turns what the replay wants into groups, one open at a time, and what the ledger answers into
what the replay knows. It acknowledges nothing itself: its owner is told how it ended, and only
after that was recorded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never

from resonate_amqp.core.model import Promise
from resonate_amqp.core.requests import (
    PromiseCreate,
    PromiseRegisterListener,
    PromiseSettle,
    Request,
    Response,
    TaskFence,
    TaskFulfill,
    TaskHalt,
    TaskRelease,
    TaskSuspend,
)
from resonate_amqp.errors import ResonateError, UsageError
from resonate_amqp.ports import Delivery, Failpoints, Telemetry
from resonate_amqp.runtime.alarms import Alarm
from resonate_amqp.runtime.context import Context
from resonate_amqp.runtime.leaves import Attempts, Leaves
from resonate_amqp.runtime.replay import Await, Finish, Halt, Leaf, Replay, Want
from resonate_amqp.runtime.session import Session
from resonate_amqp.wire.envelope import Reply

log = logging.getLogger(__name__)

REFUSED_DELAY_MS = 5_000
MOST_AWAITED = 5_000
"""A task suspended on some of what it awaits is resumed early, which does no harm."""
STEP_BYTES = 300
GROUP_BYTES = 2 * 1024 * 1024


class Ending(StrEnum):
    """How a body left this process."""

    RESOLVED = "resolved"
    REJECTED = "rejected"
    SUSPENDED = "suspended"
    RELEASED = "released"
    HALTED = "halted"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Held:
    """A lease as its holder holds it; `delivery` is None for a TTL lease."""

    promise: Promise
    version: int
    holder: str
    delivery: Delivery | None


Ended = Callable[["Body", Ending], None]


class Body:
    """One task while this process holds its lease; `ended` is told how it left."""

    def __init__(
        self,
        held: Held,
        function: str,
        replay: Replay,
        session: Session,
        leaves: Leaves,
        telemetry: Telemetry,
        failpoints: Failpoints,
        touched: Callable[[Body], None],
        ended: Ended,
    ) -> None:
        self.held = held
        self.function = function
        self.waiting_since: int | None = None
        self.watch: Alarm | None = None
        self.finishing = False
        self._replay = replay
        self._session = session
        self._leaves = leaves
        self._telemetry = telemetry
        self._failpoints = failpoints
        self._touched = touched
        self._ended = ended
        self._wants: list[Want] = []
        self._group = ""
        self._suspending = False
        self.finishing = False
        self._over = False
        self._attempts: list[Attempts] = []
        self._listening: set[str] = set()
        self._late: list[Promise | ResonateError] = []

    @property
    def id(self) -> str:
        return self.held.promise.id

    def start(self, preload: tuple[Promise, ...], complete: bool) -> None:
        """Run the body on what is recorded."""
        self._failpoints.reach("body.start")
        self._guarded(lambda: self._replay.start(preload, complete, self._session.now()))
        self._touched(self)

    def flush(self) -> None:
        """Send what the replay wants, unless a group of this task is still unanswered."""
        self._guarded(self._flush)

    def _flush(self) -> None:
        self._wants.extend(self._replay.take())
        while self._wants and self._free():
            wants, self._wants = self._wants, []
            self._send(wants)
            self._wants.extend(self._replay.take())
        if not (self._free() and self._replay.waits_for()):
            self.waiting_since = None
            self._unwatch()
        elif self.waiting_since is None:
            self.waiting_since = self._session.clock.monotonic()

    def park(self) -> bool:
        """Suspend the task if the body waits only for what others settle."""
        awaited = self._replay.waits_for()
        if self._wants or not awaited or not self._free():
            return False
        self._suspending = True
        self.finishing = True
        self.waiting_since = None
        step = TaskSuspend(
            id=self.id,
            version=self.held.version,
            holder=self.held.holder,
            awaited=tuple(sorted(awaited)[:MOST_AWAITED]),
        )
        self._group = self._session.calls.send([step], self._suspended, about=self.id)
        return True

    def release(self, delay_ms: int) -> None:
        """Give the task up; somebody else gets it after the delay."""
        if self._over:
            return
        self._drop_group()
        step = TaskRelease(
            id=self.id, version=self.held.version, holder=self.held.holder, delay=delay_ms
        )
        self._replay.close()
        self._group = self._session.calls.send(
            [step], lambda _reply: self._end(Ending.RELEASED), about=self.id
        )

    def drop(self) -> None:
        """Forget the body: its lease is lost, and nothing it does counts any more."""
        self._end(Ending.LOST)

    def _going(self) -> bool:
        return not self._over

    def _free(self) -> bool:
        """Whether a group may be sent: the body goes on and none is unanswered."""
        return not (self._over or self._group)

    def _send(self, wants: list[Want]) -> None:
        """Start leaves and send one group for everything else."""
        steps: list[Request] = []
        sent: list[Want] = []
        size = 0
        for number, want in enumerate(wants):
            if size > GROUP_BYTES:
                self._wants[:0] = wants[number:]
                break
            size += _weight(want)
            match want:
                case Leaf():
                    self._attempts.append(
                        self._leaves.run(want, self.held.promise, self._leaf_done(want.id))
                    )
                    continue
                case PromiseCreate():
                    self._tell_called(want)
                    steps.append(self._fence(want))
                case PromiseSettle():
                    steps.append(self._fence(want))
                case Await(id=promise_id):
                    steps.append(PromiseRegisterListener(awaited=promise_id, address=""))
                    self._listening.add(promise_id)
                    self._session.listeners.add(promise_id, self._heard, registered=True)
                case Finish(settle=settle):
                    steps.append(
                        TaskFulfill(
                            id=self.id,
                            version=self.held.version,
                            holder=self.held.holder,
                            action=settle,
                        )
                    )
                case Halt(reason=reason):
                    log.error("%s", reason)
                    steps.append(TaskHalt(id=self.id, reason=reason))
                case _:
                    assert_never(want)
            sent.append(want)
        if steps:
            if isinstance(sent[-1], Finish):
                self.finishing = True
                self._failpoints.reach("body.fulfill")
            self._group = self._session.calls.send(
                steps, lambda reply: self._answered(sent, reply), about=self.id
            )

    def _fence(self, action: PromiseCreate | PromiseSettle) -> TaskFence:
        return TaskFence(
            id=self.id, version=self.held.version, holder=self.held.holder, action=action
        )

    def _answered(self, sent: list[Want], reply: Reply | ResonateError) -> None:
        self._group = ""
        if not self._over and isinstance(reply, Reply):
            self._guarded(lambda: self._learn(sent, reply))

    def _learn(self, sent: list[Want], reply: Reply) -> None:
        now = self._session.now()
        for want, response in zip(sent, reply.responses, strict=False):
            if not response.ok:
                self._refused(want, response)
            elif isinstance(want, Finish):
                mine = response.applied
                self._end(Ending(want.settle.state.value) if mine else Ending.LOST)
            elif isinstance(want, Halt):
                self._end(Ending.HALTED)
            elif response.promise is not None:
                self._known(response.promise, now)
            if not self._going():
                return
        self._wants[:0] = sent[len(reply.responses) :]
        self._touched(self)

    def _known(self, promise: Promise, now: int) -> None:
        if not promise.pending and promise.id in self._listening:
            self._listening.discard(promise.id)
            self._session.listeners.remove(promise.id, self._heard)
        self._replay.learn(promise, now)

    def _refused(self, want: Want, response: Response) -> None:
        """The ledger refused a step: the lease is lost, or this one command cannot be recorded."""
        if response.status == 409 or (response.status == 404 and isinstance(want, Finish | Halt)):
            log.info("%s was taken over or settled meanwhile: %s", self.id, response.error)
            self._end(Ending.LOST)
            return
        promise_id = getattr(want, "id", "")
        if response.status < 500 and promise_id:
            error = UsageError(response.error)
            self._replay.refused(promise_id, error, self._session.now())
            return
        log.error("the ledger failed on a step of %s: %s; it is released", self.id, response.error)
        self.release(REFUSED_DELAY_MS)

    def _suspended(self, reply: Reply | ResonateError) -> None:
        self._group = ""
        self._suspending = False
        self.finishing = False
        if self._over or isinstance(reply, ResonateError):
            return
        response = reply.responses[0]
        self._touched(self)
        if response.status == 200:
            self._failpoints.reach("suspend.answered")
            self._end(Ending.SUSPENDED)
        elif response.status == 300:
            late, self._late = self._late, []
            for promise in response.preload:
                self._known(promise, self._session.now())
            for heard in late:
                self._heard(heard)
        elif response.status == 409:
            log.info("%s could not be suspended: %s", self.id, response.error)
            self._end(Ending.LOST)
        else:
            log.error("%s goes on waiting here: %s", self.id, response.error)

    def _heard(self, outcome: Promise | ResonateError) -> None:
        if self._over:
            return
        if self._suspending:
            self._late.append(outcome)
            return
        self._touched(self)
        self._guarded(lambda: self._take(outcome))

    def _take(self, outcome: Promise | ResonateError) -> None:
        if isinstance(outcome, ResonateError):
            for promise_id in self._listening & self._replay.waits_for():
                self._replay.refused(promise_id, outcome, self._session.now())
            return
        self._failpoints.reach("unblock.heard")
        self._listening.discard(outcome.id)
        self._replay.learn(outcome, self._session.now())

    def _leaf_done(self, promise_id: str) -> Callable[[Any, BaseException | None, Context], None]:
        def done(value: Any, error: BaseException | None, context: Context) -> None:
            if not self._over:
                now = self._session.now()
                leaf_done = self._replay.leaf_done
                self._guarded(lambda: leaf_done(promise_id, value, error, context, now))
                self._touched(self)

        return done

    def _guarded(self, action: Callable[[], None]) -> None:
        """Run what user code may break; a body that cannot go on here is released, not lost."""
        try:
            action()
        except Exception:
            log.exception("%s cannot go on in this process; it is released", self.id)
            self.release(REFUSED_DELAY_MS)

    def _unwatch(self) -> None:
        if self.watch is not None:
            self.watch.cancel()
            self.watch = None

    def _tell_called(self, create: PromiseCreate) -> None:
        function = create.param.headers.get("func", "")
        if function:
            scope = create.tags.get("resonate:scope", "")
            kind = "runs" if scope == "local" else "calls"
            self._telemetry.called(create.id, self.id, function, kind)

    def _drop_group(self) -> None:
        if self._group:
            self._session.calls.drop(self._group)
            self._group = ""

    def _end(self, ending: Ending) -> None:
        if self._over:
            return
        self._over = True
        self.waiting_since = None
        self._unwatch()
        self._drop_group()
        for attempts in self._attempts:
            attempts.abandon()
        for promise_id in self._listening:
            self._session.listeners.remove(promise_id, self._heard)
        self._replay.close()
        self._ended(self, ending)


def _weight(want: Want) -> int:
    """About how many bytes a step adds to its group, which must fit into one message."""
    match want:
        case PromiseCreate(id=promise_id, param=value, tags=tags):
            words = sum(len(name) + len(text) for name, text in tags.items())
            return STEP_BYTES + len(promise_id) + len(value.data) + words
        case PromiseSettle(value=value):
            return STEP_BYTES + len(value.data)
        case Finish(settle=settle):
            return STEP_BYTES + len(settle.value.data)
        case _:
            return STEP_BYTES
