"""Errands: what one durable callback has to do with one message, until its outcome is recorded."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from resonate_amqp.core.model import DIGEST, Promise, PromiseState, TaskState
from resonate_amqp.errors import Encoding, Stopped, UsageError
from resonate_amqp.ext.comebacks import ATTEMPT, PREVIOUS, attempt_id, came_back
from resonate_amqp.ext.deliveries import queue_named
from resonate_amqp.ext.kombu.desk import Desk
from resonate_amqp.ext.kombu.letters import LEAVE, Letter, queue_of, warn_once
from resonate_amqp.ext.kombu.messages import ACK, REJECT
from resonate_amqp.ext.plain import rebuild
from resonate_amqp.runtime.claims import Begun, Claimed, Elsewhere, Failed, Left, Settled
from resonate_amqp.runtime.ending import Ending
from resonate_amqp.wire.codec import decode_call

log = logging.getLogger(__name__)

INTENT = "resonate:intent"
AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Call:
    """The call that a message stands for; a `fault` of the message instead, when it has one.

    `execution` is the promise of the first attempt. `digest` is that of the message's content,
    where another one under the same id is a Conflict; the id is `explicit` when the user, or the
    client of an RPC server, says what one execution is. With `at_once` the message leaves its queue
    when its promise is recorded: nothing tells a redelivery of it from another message.
    """

    execution: str
    func: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    timeout: float | None = None
    digest: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    attempt: int = 1
    at_once: bool = False
    explicit: bool = False
    fault: UsageError | None = None

    @property
    def promise_id(self) -> str:
        """The promise of this attempt."""
        return attempt_id(self.execution, self.attempt)

    @property
    def noted(self) -> dict[str, str]:
        """What the promise's param tells of this attempt."""
        found = {DIGEST: self.digest} if self.digest else {}
        if self.attempt > 1:
            before = attempt_id(self.execution, self.attempt - 1)
            found |= {ATTEMPT: str(self.attempt), PREVIOUS: before}
        return found


class Errand:
    """Claims the message's promise and holds the message until it is settled or handed over.

    Everything but `begin` happens on the desk. `over` is what is to become of the message then,
    and `ended` is told. With `needs_outcome` nothing is over before the promise is settled. A
    method runs with the `instance` whose consumer took the message.
    """

    leaves_early = True
    """Whether the message may go while its body runs here: the ledger has what there is to do."""

    def __init__(
        self,
        desk: Desk,
        letter: Letter,
        call: Call,
        ended: Callable[[Errand], None],
        *,
        needs_outcome: bool = False,
        instance: Any = None,
    ) -> None:
        self.letter = letter
        self.letter.pauses = desk.pauses, call.execution
        self.call = call
        self.instance = instance
        self.over: str | None = None
        self.passed = False
        self.promise: Promise | None = None
        self.refused: UsageError | None = None
        self.heard = False
        """Whether the ledger has answered anything."""
        self.ran = False
        """Whether this delivery has begun the body."""
        self.leaving: str | None = None
        """What is to become of the message when the body, which asked for it, is released."""
        self._desk = desk
        self._ended = ended
        self._needs_outcome = needs_outcome
        self._begun = False
        self._watched = False
        self._again_at: float | None = None

    def begin(self) -> None:
        """Claim the promise; called when the errands before this one have ended."""
        self._desk.post(self._claim)

    def told(self, what: Claimed) -> None:
        """Take in what a claim came to, on any thread."""
        self._desk.post(partial(self._take, what))

    def end(self, over: str) -> None:
        """The message's part is over for this callback."""
        if self.over is not None:
            return
        self.over = over
        self.instance = None
        self._desk.errands.discard(self)
        if self._desk.live.get(self.call.promise_id) is self:
            del self._desk.live[self.call.promise_id]
        self.letter.went_on(self)
        self._ended(self)

    def look(self, now: float) -> None:
        """Claim again if that is due, and let a message go that is held for too long."""
        if self._again_at is not None and self._again_at <= now:
            self._claim()
        elif now - self.letter.since >= self._desk.hold_max and not (
            self._needs_outcome or self.refused
        ):
            self._grown_old()

    def _claim(self) -> None:
        if self.over is not None:
            return
        self._again_at = None
        call, resonate = self.call, self._desk.resonate
        if call.fault is not None:
            self._refuse(call.fault)
            return
        self._desk.live[call.promise_id] = self
        self._desk.errands.add(self)
        try:
            resonate.claim(
                call.promise_id,
                call.func,
                call.args,
                call.kwargs,
                told=self.told,
                redelivered=self.letter.redelivered,
                timeout=call.timeout,
                tags=call.tags,
                noted=call.noted,
            )
        except UsageError as error:
            if resonate.stopped:
                self.end(LEAVE)
            else:
                self._refuse(error)

    def _take(self, what: Claimed) -> None:
        if self.over is not None:
            return
        self.heard = self.heard or not isinstance(what, Failed)
        self._begun = isinstance(what, Begun)
        if self._begun and not self.ran and self.call.attempt > 1:
            log.info(
                "a message of %s came back: it runs as attempt %d, promise %s",
                queue_of(self.letter.message),
                self.call.attempt,
                self.call.promise_id,
            )
        self.ran = self.ran or self._begun
        match what:
            case Begun() if self.call.at_once:
                self.letter.let_go()
            case Settled(promise=promise) if promise.id == self.call.promise_id:
                self._settled(promise)
            case Left(ending=Ending.RELEASED) if self.leaving is not None:
                self.end(self.leaving)
            case Left(ending=Ending.SUSPENDED):
                self._handed_over()
            case Left(ending=ending):
                self._watch()
                if ending is not Ending.HALTED:
                    self._again()
            case Elsewhere(task=task) if task.state is TaskState.SUSPENDED:
                self._handed_over()
            case Elsewhere(task=task):
                self._watch()
                if task.state is not TaskState.HALTED:
                    self._again()
            case Failed(error=Stopped()):
                self.end(LEAVE)
            case Failed(error=UsageError() as error):
                self._refuse(error)
            case Failed(error=error):
                log.error("the claim of %s is made again: %s", self.call.promise_id, error)
                self._again()

    def _settled(self, promise: Promise) -> None:
        resolved = promise.state is PromiseState.RESOLVED
        intent = promise.value.headers.get(INTENT, ACK) if resolved else REJECT
        if not self.ran:
            if self._came_back(promise, intent):
                self._attempt_again()
                return
            self._tell_unrun(promise, intent)
        elif self.call.at_once and intent == REJECT:
            # It has left its queue, so that this is the only place where the shop finds it.
            self._refuse(UsageError(f"it failed, and had left its queue: see promise {promise.id}"))
            return
        self.promise = promise
        self.end(intent)

    def _tell_unrun(self, promise: Promise, intent: str) -> None:
        text = "a message of %s is settled as recorded, by %s, and not executed: promise %s is %s"
        queue = queue_of(self.letter.message)
        told = queue, intent, promise.id, promise.state
        if not self.letter.redelivered:
            warn_once(f"sent again {self.call.func} {queue}", text, *told)
        log.info(text, *told)

    def _came_back(self, promise: Promise, intent: str) -> bool:
        """Whether the message is to run again although this attempt of it is recorded.

        Under an explicit id what was done is done, whatever way its message takes.
        """
        if self.call.explicit and intent != REJECT:
            return False
        message = self.letter.message
        return came_back(
            _headers(promise),
            message.headers or {},
            rejected=intent == REJECT,
            redelivered=self.letter.redelivered,
            queue=queue_named(message),
        )

    def _attempt_again(self) -> None:
        if self._desk.live.get(self.call.promise_id) is self:
            del self._desk.live[self.call.promise_id]
        self.call = replace(self.call, attempt=self.call.attempt + 1)
        self._watched = False
        self._claim()

    def _handed_over(self) -> None:
        if self._needs_outcome:
            self._watch()
        else:
            self.end(ACK)

    def _watch(self) -> None:
        if not self._watched:
            self._watched = True
            self._desk.resonate.watch(self.call.promise_id, self.told)

    def _again(self) -> None:
        self._again_at = time.monotonic() + AGAIN_S

    def _grown_old(self) -> None:
        """What is recorded goes on without the message; what is not cannot."""
        if self.heard and not self._begun:
            self.end(ACK)
        elif self._begun and self.leaves_early and self.letter.last(self):
            self.letter.let_go()

    def _refuse(self, error: UsageError) -> None:
        """The message can never be executed: put aside with the reason, it leaves its queue."""
        self.refused = error
        message = self.letter.message
        body = message.body or b""
        log.error("a message of %s is dead-lettered: %s", queue_of(message), error)
        self._desk.resonate.dead_letter(
            body.encode() if isinstance(body, str) else bytes(body),
            f"promise {self.call.promise_id!r}: {error}",
            queue_of(message),
            lambda: self._desk.post(lambda: self.end(ACK)),
        )


def stopping(consumer: Any) -> bool:
    """Whether a mixin was told to stop: what has not begun stays in its queue."""
    return getattr(consumer, "should_stop", False) is True


def _headers(promise: Promise) -> dict[str, Any]:
    """The headers of the message that a promise was made of; none if it was made otherwise."""
    try:
        args = decode_call(promise.param).args
        record = args[0] if len(args) == 1 else None
        headers = rebuild(record["headers"], "headers") if isinstance(record, dict) else {}
    except (Encoding, KeyError):
        return {}
    return headers if isinstance(headers, dict) else {}
