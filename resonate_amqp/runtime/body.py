"""Body: one acquired task, from its lease to its outcome.

It turns what the replay wants into groups, one open at a time, and what the ledger answers into
what the replay knows. It acknowledges nothing itself: its owner is told how it ended, and only
after that was recorded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import assert_never

from resonate_amqp.core.model import Promise
from resonate_amqp.core.requests import (
    PromiseCreate,
    PromiseSettle,
    Response,
    TaskAcquire,
    Verdict,
)
from resonate_amqp.errors import ResonateError, UsageError
from resonate_amqp.ports import Delivery, Failpoint, Failpoints, Telemetry
from resonate_amqp.runtime import steps
from resonate_amqp.runtime.awaited import Awaited
from resonate_amqp.runtime.ending import Ending
from resonate_amqp.runtime.held import Held
from resonate_amqp.runtime.inquiry import Inquiry
from resonate_amqp.runtime.leaves import Leaves
from resonate_amqp.runtime.outcomes import Postponed
from resonate_amqp.runtime.replay import Abandon, Await, Finish, Halt, Leaf, Replay, Want
from resonate_amqp.runtime.session import Session
from resonate_amqp.runtime.steps import Opener, Recorded
from resonate_amqp.runtime.underway import UnderWay
from resonate_amqp.wire.envelope import Reply

log = logging.getLogger(__name__)

REFUSED_DELAY_MS = 5_000
PARK_AGAIN_MS = 1_000
MOST_AWAITED = 5_000
"""A task suspended on some of what it awaits is resumed early, which does no harm."""

Ended = Callable[["Body", Ending], None]
LetGo = Callable[["Body", Delivery], None]


class Body:
    """One task while this process holds its lease, or will if its acquire succeeds.

    `ended` is told how it left, `let_go` that it went on under a TTL lease (`moved`) and needs its
    delivery no more. A body whose channel was lost may be orphaned: its leaf goes on, nothing is
    sent, and it waits for its task to come back to this process.
    """

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
        let_go: LetGo,
        ended: Ended,
    ) -> None:
        self.held, self.function = held, function
        self.waiting_since: int | None = None
        self.finishing = self.moving = self.moved = False
        self.settled: Promise | None = None
        self._replay, self._session = replay, session
        self._telemetry = telemetry
        self._failpoints = failpoints
        self._touched = touched
        self._let_go = let_go
        self._ended = ended
        self._wants: list[Want] = []
        self._group = ""
        self._unanswered: list[Recorded] = []
        self._suspending = self._knocking = False
        self._orphaned = self._released = self._over = False
        self._parkable_at = 0
        self._awaited = Awaited(session.listeners, self._heard)
        self._underway = UnderWay(leaves, replay, self._tell)
        self._inquiry = Inquiry(session, replay, held.id, self._tell, self.drop)

    @property
    def id(self) -> str:
        return self.held.promise.id

    @property
    def running(self) -> bool:
        """Whether a leaf of it runs in this process."""
        return len(self._underway) > 0

    @property
    def acquired(self) -> bool:
        """Whether the ledger has answered that the lease is ours."""
        return self.held.acquire is None

    def start(self, preload: tuple[Promise, ...], complete: bool) -> None:
        """Run the body on what is recorded."""
        self._failpoints.reach(Failpoint.BODY_START)
        self._guarded(lambda: self._replay.start(preload, complete, self._session.now()))
        self._touched(self)

    def flush(self) -> None:
        """Send what the replay wants, unless a group of this task is still unanswered."""
        self._guarded(self._flush)

    def _flush(self) -> None:
        if self._replay.expired and not self._released:
            log.warning("%s: %s; nothing more of it begins here", self.id, self._replay.expired)
            self.release(0)
        self._wants.extend(self._replay.take())
        while self._free() and (self._wants or self._knocking or self.moving):
            wants, self._wants = self._wants, []
            self._send(wants)
            self._wants.extend(self._replay.take())
        if not (self._free() and self._replay.waits_for()):
            self.waiting_since = None
        elif self.waiting_since is None:
            self.waiting_since = self._session.clock.monotonic()

    def knock(self) -> None:
        """Ask for the lease now, if no group has asked for it on the way yet."""
        if not self.acquired and self._free():
            self._knocking = True
            self._touched(self)

    def move(self) -> None:
        """Go on under a TTL lease: the delivery has been held for as long as it may be."""
        if self.held.delivery is not None and not (self.moving or self.finishing):
            self.moving = True
            self._touched(self)

    def orphan(self) -> bool:
        """The lease is lost: keep what a leaf does, or did unrecorded, if it does; send no more."""
        unrecorded = [*self._unanswered, *self._wants]
        results = any(isinstance(want, PromiseSettle | Finish) for want in unrecorded)
        if self._over or self._released or not (self._underway or results):
            return False
        self._drop_group()
        self._wants, self._unanswered = unrecorded, []
        self._orphaned = True
        self.moving = self.moved = self.finishing = False
        return True

    def adoptable(self, version: int, preload: tuple[Promise, ...]) -> bool:
        """Whether an orphan may go on under a lease of this version, with these settled children.

        If nobody else held the task in between, or if a leaf is all there is and was.
        """
        next_of_mine = self.acquired and version == self.held.version + 1
        return next_of_mine or (self._replay.leaf and not preload)

    def adopt(self, held: Held, preload: tuple[Promise, ...]) -> None:
        """Go on under a new lease of the same task."""
        held.claim, self.held = self.held.claim, held
        self._orphaned = False
        for promise in preload:
            self._heard(promise)
        self._touched(self)

    def park(self) -> bool:
        """Suspend the task if the body waits only for what others settle."""
        awaited = self._replay.waits_for()
        early = self._session.clock.monotonic() < self._parkable_at
        if early or self._wants or not awaited or not (self._free() and self.acquired):
            return False
        self._suspending = True
        self.finishing = True
        self.waiting_since = None
        step = self.held.suspend(tuple(sorted(awaited)[:MOST_AWAITED]))
        self._group = self._session.calls.send([step], self._suspended, about=self.id)
        return True

    def release(self, delay_ms: int) -> None:
        """Give the task up; somebody else gets it after the delay."""
        if self._over:
            return
        self._released = self.finishing = True
        self._drop_group()
        asked = [*steps.openers_of(self.held, None), self.held.release(delay_ms)]
        self._replay.close()
        self._group = self._session.calls.send(
            asked, lambda _reply: self._end(Ending.RELEASED), about=self.id
        )

    def drop(self) -> None:
        """Forget the body: its lease is lost, and nothing it does counts any more."""
        self._end(Ending.LOST)

    def _free(self) -> bool:
        """Whether a group may be sent: the body goes on and none is unanswered."""
        return not (self._over or self._group or self._orphaned or self._inquiry)

    def _send(self, wants: list[Want]) -> None:
        """Start leaves and send one group for everything else."""
        if steps.misunderstood(wants, self._session.ledger_level):
            log.error("%s needs a ledger of this release; it is offered again", self.id)
            self.release(REFUSED_DELAY_MS)
            return
        most = steps.fitting(wants)
        self._wants[:0] = wants[most:]
        sent: list[Recorded] = []
        for want in wants[:most]:
            if isinstance(want, Leaf):
                self._underway.start(want, self.held.promise)
            elif isinstance(want, Abandon):
                self._underway.abandon(want.id)
            else:
                self._before(want)
                sent.append(want)
        if not (sent or self._knocking or self.moving):
            return
        self._knocking = False
        openers = steps.openers_of(self.held, self._session.ttl_ms if self.moving else None)
        if self.moving:
            self._failpoints.reach(Failpoint.LEASE_ASKED)
        self._unanswered = sent
        self._group = self._session.calls.send(
            [*openers, *(steps.step_of(want, self.held) for want in sent)],
            lambda reply: self._answered(openers, sent, reply),
            about=self.id,
        )

    def _before(self, want: Recorded) -> None:
        """What goes with a want that is about to be sent."""
        match want:
            case PromiseCreate():
                steps.tell_called(self._telemetry, self._session.unserved, self.id, want)
            case Await(id=promise_id):
                self._awaited.add(promise_id)
            case Halt(reason=reason):
                log.error("%s", reason)
            case Finish():
                self.finishing = True
                self._failpoints.reach(Failpoint.BODY_FULFILL)
            case PromiseSettle():
                pass
            case _:
                assert_never(want)

    def _answered(
        self, openers: list[Opener], sent: list[Recorded], reply: Reply | ResonateError
    ) -> None:
        self._group = ""
        self._unanswered = []
        if self._over or not isinstance(reply, Reply):
            return
        responses = reply.responses
        if steps.move_unknown(openers, responses):
            self._stay(responses[-1].error)
            responses = ()
        for opener, response in zip(openers, responses, strict=False):
            if not self._opened(opener, response):
                return
        if len(responses) < len(openers):
            self._wants[:0] = sent
            self._touched(self)
            return
        rest = responses[len(openers) :]
        self._guarded(lambda: self._learn(sent, rest))

    def _opened(self, opener: Opener, response: Response) -> bool:
        """Take in the answer to an opener; false when the body has ended by it."""
        if response.ok:
            if isinstance(opener, TaskAcquire):
                self.held.acquire = None
                self._failpoints.reach(Failpoint.ACQUIRE_ANSWERED)
            else:
                self._lease_moved()
            return True
        log.info("%s does not run here: %s", self.id, response.error)
        # 400: the group could not be read, so that nothing is known of the task.
        back = response.verdict is Verdict.RETURN or response.status in (400, 500)
        self._end(Ending.RETURNED if back else Ending.LOST)
        return False

    def _lease_moved(self) -> None:
        self.moving = False
        self.moved = True
        delivery, self.held.delivery = self.held.delivery, None
        self._failpoints.reach(Failpoint.LEASE_ANSWERED)
        if delivery is not None:
            self._let_go(self, delivery)

    def _stay(self, error: str) -> None:
        """The ledger knows no move: go on under the delivery, as if it had come just now."""
        log.info("%s stays under its delivery: %s", self.id, error)
        self.moving = False
        self.held.since = self._session.clock.monotonic()

    def _learn(self, sent: list[Recorded], responses: tuple[Response, ...]) -> None:
        for want, response in zip(sent, responses, strict=False):
            if not response.ok:
                self._refused(want, response)
            elif isinstance(want, Finish):
                self._failpoints.reach(Failpoint.FULFILL_ANSWERED)
                self.settled = response.promise
                self._end(Ending(want.settle.state.value) if response.applied else Ending.LOST)
            elif isinstance(want, Halt):
                self._end(Ending.HALTED)
            elif response.promise is not None:
                self._known(response.promise)
            if self._over:
                return
        self._wants[:0] = sent[len(responses) :]
        self._touched(self)

    def _refused(self, want: Recorded, response: Response) -> None:
        """The ledger refused a step: the lease is lost, or this one command cannot be recorded."""
        if steps.lost(want, response):
            log.info("%s was taken over or settled meanwhile: %s", self.id, response.error)
            self._end(Ending.LOST)
        elif response.status < 500 and (promise_id := getattr(want, "id", "")):
            error = UsageError(response.error)
            self._replay.refused(promise_id, error, self._session.now())
        else:
            log.error("the ledger failed on a step of %s: %s; released", self.id, response.error)
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
            self._failpoints.reach(Failpoint.SUSPEND_ANSWERED)
            self._end(Ending.SUSPENDED)
        elif response.status == 409:
            log.info("%s could not be suspended: %s", self.id, response.error)
            self._end(Ending.LOST)
        elif response.status != 300:
            log.error("%s goes on waiting here: %s", self.id, response.error)
            self._parkable_at = self._session.clock.monotonic() + PARK_AGAIN_MS
        for heard in (*response.preload, *self._awaited.late()):
            self._heard(heard)

    def _heard(self, outcome: Promise | ResonateError) -> None:
        if self._over:
            return
        if self._suspending:
            self._awaited.defer(outcome)
            return
        self._touched(self)
        self._guarded(lambda: self._take(outcome))

    def _take(self, outcome: Promise | ResonateError) -> None:
        if isinstance(outcome, ResonateError):
            for promise_id in self._awaited.among(self._replay.waits_for()):
                self._replay.refused(promise_id, outcome, self._session.now())
            return
        self._failpoints.reach(Failpoint.UNBLOCK_HEARD)
        self._known(outcome)

    def _known(self, promise: Promise) -> None:
        """The record of a child was seen."""
        self._awaited.known(promise)
        if not self._inquiry.keeps(promise):
            self._replay.learn(promise, self._session.now())

    def _tell(self, tell: Callable[[int], None]) -> None:
        """A leaf has ended, or is none any more; or what the inquiry had kept may be heard."""
        if not self._over:
            self._guarded(lambda: tell(self._session.now()))
            self._touched(self)

    def _guarded(self, action: Callable[[], None]) -> None:
        """Run what user code may break; a body that cannot go on here is released, not lost."""
        try:
            action()
        except Postponed as postponed:
            self.release(postponed.delay_ms)
        except Exception:
            log.exception("%s cannot go on in this process; it is released", self.id)
            self.release(REFUSED_DELAY_MS)

    def _drop_group(self) -> None:
        self._inquiry.close()
        if self._group:
            self._session.calls.drop(self._group)
            self._group = ""

    def _end(self, ending: Ending) -> None:
        if self._over:
            return
        self._over = True
        self.waiting_since = None
        self._drop_group()
        self._underway.close()
        self._awaited.close()
        self._replay.close()
        self._ended(self, ending)
