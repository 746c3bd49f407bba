"""Replay: drives the body of one task, from the top, on what is recorded. Sans-IO.

The driver is told what became known (`learn`, `leaf_done`, `turned`) and answers with what it
wants recorded, run or awaited (`take`). It resumes a body with a step's result only once that
result is recorded; so what a body has seen is what it will see again. A local workflow runs as a
frame of its own inside the same task. An `async def` body is a leaf until its first command, and
a frame from then on, which takes its turns on another thread.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from resonate_amqp.core.model import PARENT, Promise, PromiseState
from resonate_amqp.core.requests import PromiseCreate, PromiseSettle
from resonate_amqp.errors import ResonateError
from resonate_amqp.runtime import sagas
from resonate_amqp.runtime.children import Family
from resonate_amqp.runtime.commands import Compensation
from resonate_amqp.runtime.context import Context, Info
from resonate_amqp.runtime.frames import (
    AsyncFrame,
    Frame,
    GeneratorFrame,
    Turn,
    Wait,
    closed,
)
from resonate_amqp.runtime.issuing import Begin, Issuing
from resonate_amqp.runtime.outcomes import verdict_of
from resonate_amqp.runtime.records import Records
from resonate_amqp.runtime.registry import Registered
from resonate_amqp.runtime.turns import Turns
from resonate_amqp.runtime.waits import Over, judged
from resonate_amqp.runtime.wants import Abandon, Await, Finish, Halt, Leaf, Want
from resonate_amqp.runtime.withdrawals import Withdrawals
from resonate_amqp.wire.codec import Call
from resonate_amqp.wire.typed import Shape

__all__ = ["Abandon", "Await", "Finish", "Halt", "Leaf", "Replay", "Want"]

log = logging.getLogger(__name__)


class Replay:
    """The body of one task; `make_context` gives each frame and leaf what it runs with."""

    def __init__(
        self,
        promise: Promise,
        function: Registered,
        call: Call,
        family: Family,
        make_context: Callable[[str, Info], Context],
    ) -> None:
        self._root = promise
        self._function = function
        self._call = call
        self._family = family
        self._make_context = make_context
        self._records = Records(promise, family)
        self._frames: dict[str, Frame] = {}
        self._asyncs: dict[str, AsyncFrame] = {}
        self._leaves: set[str] = set()
        self._settling: set[str] = set()
        self._complete = True
        self.expired = ""
        """What is to be said once the deadline has come: nothing goes on, and nothing is wanted."""
        self._deferred: dict[str, Begin] = {}
        self._returns: dict[str, Shape | None] = {}
        self._reached: dict[str, int] = {}
        self._ahead: Counter[str] = Counter()
        self._withdrawals = Withdrawals(
            self._records, self._frames, self._asyncs, self._leaves, self._settling, self._deferred
        )
        self._issuing = Issuing(self._records, family, self._begin, self._deferred)
        self._turns = Turns(self._records, self._issuing, self._withdrawals)

    def start(self, preload: tuple[Promise, ...], complete: bool, now: int) -> None:
        """Run from the top, as far as what is recorded carries.

        `complete` tells that `preload` holds every settled child. When it does not, a local step
        runs only after the ledger has answered that it did not run before.
        """
        self._complete = self._issuing.complete = complete
        if self._past(now):
            return
        for child in preload:
            self._records.add(child)
            self._ahead[child.tags.get(PARENT, "")] += 1
        if not self._function.workflow:
            self._run_leaf(self._root.id, self._function, self._call, self._root.timeout_at)
        else:
            self._open_frame(self._root.id, self._function, self._call, self._root.timeout_at, now)

    @property
    def leaf(self) -> bool:
        """Whether the body is one function that has made no durable call."""
        return not self._function.workflow and self._root.id not in self._frames

    def learn(self, promise: Promise, now: int) -> None:
        """Take in a child's record, pending or settled, and resume whoever waited for it."""
        if self._past(now) or self._records.differs(promise):
            return
        deferred = self._deferred.pop(promise.id, None)
        if promise.pending or promise.id in self._records:
            if promise.pending:
                self._records.running(promise)
            if deferred is not None:
                deferred(promise.param, now)
            elif promise.timer:
                self._go_on(promise.id, now)
            return
        self._records.add(promise)
        self._settling.discard(promise.id)
        self._wake(promise.id, now)

    def refused(self, promise_id: str, error: ResonateError, now: int) -> None:
        """A child could not be recorded: its frame gets the error where it waits for it."""
        if self._past(now):
            return
        self._records.refuse(promise_id, error)
        self._settling.discard(promise_id)
        self._wake(promise_id, now)

    def leaf_done(
        self, promise_id: str, value: Any, error: BaseException | None, context: Context, now: int
    ) -> None:
        """A leaf ended for good; a value that cannot be recorded is an error as well."""
        alone = promise_id == self._root.id and promise_id not in self._asyncs
        if self._records.ended or (not alone and self._past(now)):
            return
        if promise_id != self._root.id and not self._runs(promise_id):
            return
        settle = self._verdict(promise_id, value, error)
        frame: Frame | None = self._asyncs.pop(promise_id, None)
        if frame is not None:
            self._returned(frame, settle, now)
            return
        self._leaves.discard(promise_id)
        wants = self._records.wants
        before = len(wants)
        if settle.state is PromiseState.RESOLVED:
            settle = self._records.create_unissued(context, settle, now)
        elif undo := context.compensations():
            self._record_leaf(promise_id)
            timeout_at = self._records.timeout_at(promise_id)
            failed = Frame(
                id=promise_id,
                context=context,
                timeout_at=timeout_at,
                reached=self._reached_by(promise_id),
            )
            self._undo(failed, undo, settle, now)
            return
        if promise_id != self._root.id:
            wants.insert(before, self._records.asked(promise_id))
        self._settle(settle)

    def turned(self, promise_id: str, turn: Turn, now: int) -> None:
        """An `async def` body has awaited commands; by its first it is a leaf no longer."""
        if self._past(now) or not (promise_id == self._root.id or self._runs(promise_id)):
            turn.body.close()
            return
        frame = self._asyncs.get(promise_id) or self._promoted(promise_id, turn)
        self._turns.take(frame, turn, now)

    def take(self) -> list[Want]:
        """What is wanted since the last time, in order; async bodies go on now if they can."""
        for frame in self._asyncs.values():
            self._turns.resume(frame)
        if self._alone() and not self._records.awaited:
            self._turns.check(self._asyncs.values())
        return self._records.take()

    def waits_for(self) -> frozenset[str]:
        """The promises the body waits for, if they are all it waits for; else empty."""
        if not (self._alone() and all(frame.idle for frame in self._asyncs.values())):
            return frozenset()
        return frozenset(self._records.awaited)

    def _alone(self) -> bool:
        """Whether nothing is under way, here or at the ledger, that the body may wait for."""
        records = self._records
        return not (
            records.wants or self._leaves or self._settling or self._deferred or records.ended
        )

    def close(self) -> None:
        """Drop every frame; `finally` blocks run now, or soon on the thread of an async body."""
        self._records.ended = True
        for frame in list(self._frames.values()):
            if isinstance(frame, GeneratorFrame | AsyncFrame):
                closed(frame)
        self._frames.clear()
        self._asyncs.clear()

    def _past(self, now: int) -> bool:
        """Whether nothing of the body begins any more: it has ended, or its deadline has come."""
        if not self._records.ended and now >= self._root.timeout_at:
            self._records.ended = True
            self.expired = self._withdrawals.lateness()
        return self._records.ended

    def _runs(self, promise_id: str) -> bool:
        """Whether a local step is under way that was not given up."""
        return promise_id in self._leaves or promise_id in self._asyncs

    def _begin(
        self, parent: Frame, step: PromiseCreate, function: Registered, call: Call, now: int
    ) -> None:
        """Run a local step."""
        self._reached[step.id] = parent.reached
        if function.workflow:
            self._open_frame(step.id, function, call, step.timeout_at, now)
        else:
            self._run_leaf(step.id, function, call, step.timeout_at)

    def _run_leaf(self, promise_id: str, function: Registered, call: Call, timeout_at: int) -> None:
        self._leaves.add(promise_id)
        self._returns[promise_id] = function.types.returns
        root = promise_id == self._root.id
        executor = None if root else self._family.steps.executor
        self._records.wants.append(Leaf(promise_id, function, call, timeout_at, root, executor))

    def _open_frame(
        self, promise_id: str, function: Registered, call: Call, timeout_at: int, now: int
    ) -> None:
        context = self._context(promise_id, timeout_at, function.version, 1)
        context.ahead = self._ahead[promise_id]
        self._returns[promise_id] = function.types.returns
        try:
            args, kwargs = function.arguments(call.args, call.kwargs)
            body = function.func(context, *args, **kwargs)
        except Exception as error:  # whatever the user's function raises is its outcome
            self._settle(verdict_of(promise_id, None, error))
            return
        context.numbers.limits = []
        frame = GeneratorFrame(
            id=promise_id,
            body=body,
            context=context,
            timeout_at=timeout_at,
            reached=self._reached_by(promise_id),
        )
        self._frames[promise_id] = frame
        self._advance(frame, None, None, now)

    def _reached_by(self, promise_id: str) -> int:
        """The earliest instant, by the record, at which a body can have begun."""
        return self._reached.get(promise_id, self._root.created_at)

    def _promoted(self, promise_id: str, turn: Turn) -> AsyncFrame:
        """The frame of an `async def` body that has been a leaf until now."""
        self._leaves.discard(promise_id)
        self._record_leaf(promise_id)
        context = turn.body.context
        context.ahead = self._ahead[promise_id]
        timeout_at = self._records.timeout_at(promise_id)
        frame = AsyncFrame(
            id=promise_id,
            body=turn.body,
            context=context,
            timeout_at=timeout_at,
            reached=self._reached_by(promise_id),
        )
        self._frames[promise_id] = self._asyncs[promise_id] = frame
        return frame

    def _record_leaf(self, promise_id: str) -> None:
        """Have a local step recorded before its children are; most are when they end."""
        if promise_id != self._root.id and self._complete:
            self._records.wants.append(self._records.asked(promise_id))

    def _advance(
        self, frame: GeneratorFrame, value: Any, error: BaseException | None, now: int
    ) -> None:
        """Run a frame until it waits, returns or raises."""
        while not self._records.ended:
            ended: PromiseSettle | None = None
            command = None
            try:
                command = frame.step(value, error)
            except StopIteration as stop:
                ended = self._verdict(frame.id, stop.value, None)
            except BaseException as raised:  # whatever the body raises is its outcome
                ended = verdict_of(frame.id, None, raised)
            for limit in frame.context.numbers.take_left():
                if limit.issued:
                    self._withdrawals.give_up(frame, limit.id)
            if ended is not None:
                self._returned(frame, ended, now)
                return
            value, error = None, None
            try:
                answer = self._issuing.issue(frame, command, now)
                if isinstance(answer, Wait):
                    answer = self._issuing.limited(frame, answer, now)
            except Exception as refusal:  # what cannot be recorded is raised where it was yielded
                error = refusal
                continue
            if not isinstance(answer, Wait):
                value = answer
                continue
            frame.waiting = answer
            self._records.missing(frame, answer)
            over = self._awaited(frame)
            if over is None:
                return
            value, error = over.value, over.error

    def _awaited(self, frame: GeneratorFrame) -> Over | None:
        """What the await of a frame came to, if it is over; else what it waits for in vain ends."""
        if frame.waiting is None:
            return None
        verdict = judged(frame.waiting, self._records)
        if isinstance(verdict, Over):
            frame.waiting = None
            frame.reached = max(frame.reached, verdict.at)
            return verdict
        if verdict is not None:
            for place in verdict.promises:
                self._withdrawals.give_up(frame, place)
        return None

    def _wake(self, promise_id: str, now: int) -> None:
        """A promise has its outcome: go on wherever it is waited for."""
        for frame in list(self._frames.values()):
            if promise_id in frame.attached:
                del frame.attached[promise_id]
                if frame.verdict is not None:
                    self._records.tell_unheard(frame.id, promise_id)
                    self._complete_if_alone(frame, now)
        self._go_on(promise_id, now)

    def _go_on(self, promise_id: str, now: int) -> None:
        """Something was heard of a promise: go on wherever that was all that was missing."""
        for frame in list(self._frames.values()):
            if self._frames.get(frame.id) is not frame:
                continue
            match frame:
                case GeneratorFrame(waiting=Wait() as wait) if promise_id in wait:
                    over = self._awaited(frame)
                    if over is not None:
                        self._advance(frame, over.value, over.error, now)
                case AsyncFrame() if self._records.has_outcome(promise_id):
                    for key in frame.awoken(promise_id):
                        self._turns.answerable(frame, key)

    def _returned(self, frame: Frame, verdict: PromiseSettle, now: int) -> None:
        """The body ended: it settles once every child that runs code and was not awaited has."""
        frame.verdict = frame.final or verdict
        for promise_id in list(frame.attached):
            if self._records.has_outcome(promise_id):
                del frame.attached[promise_id]
                self._records.tell_unheard(frame.id, promise_id)
            elif self._withdrawals.runs_code(promise_id):
                self._records.listen(promise_id)
        self._complete_if_alone(frame, now)

    def _complete_if_alone(self, frame: Frame, now: int) -> None:
        if frame.verdict is None or frame.id not in self._frames:
            return
        if any(map(self._withdrawals.runs_code, frame.attached)):
            return
        for promise_id in list(frame.attached):
            # A timer or an external promise may serve what ran until now, and nobody else.
            self._withdrawals.give_up(frame, promise_id)
        del self._frames[frame.id]
        verdict = frame.verdict
        if verdict.state is PromiseState.RESOLVED:
            verdict = self._records.create_unissued(frame.context, verdict, now)
        elif undo := frame.context.compensations():
            self._undo(frame, undo, verdict, now)
            return
        self._settle(verdict)

    def _undo(
        self, frame: Frame, undo: Iterable[Compensation], verdict: PromiseSettle, now: int
    ) -> None:
        """Run the compensations of a body that failed, in its place."""
        failed = self._frames[frame.id] = sagas.failed(frame, undo, verdict)
        self._advance(failed, None, None, now)

    def _settle(self, verdict: PromiseSettle) -> None:
        if verdict.id == self._root.id:
            self._records.finish(verdict)
        else:
            self._settling.add(verdict.id)
            self._records.wants.append(verdict)

    def _verdict(self, promise_id: str, value: Any, error: BaseException | None) -> PromiseSettle:
        return verdict_of(promise_id, value, error, self._returns.get(promise_id))

    def _context(self, promise_id: str, timeout_at: int, version: int, attempt: int) -> Context:
        tags = self._root.tags if promise_id == self._root.id else {}
        return self._make_context(promise_id, Info(attempt, timeout_at, version, tags))
