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

from resonate_amqp.core.model import PARENT, Promise, PromiseState, Value
from resonate_amqp.core.requests import PromiseSettle
from resonate_amqp.errors import NotDurable, ResonateError
from resonate_amqp.runtime.children import Family, local_function
from resonate_amqp.runtime.commands import (
    Command,
    Compensation,
    External,
    Gather,
    Invoke,
    Other,
    Promised,
    Sleep,
)
from resonate_amqp.runtime.context import Context, Info
from resonate_amqp.runtime.frames import AsyncFrame, Frame, GeneratorFrame, Turn, Wait
from resonate_amqp.runtime.outcomes import verdict_of
from resonate_amqp.runtime.records import Records
from resonate_amqp.runtime.registry import Registered
from resonate_amqp.runtime.sagas import undoing
from resonate_amqp.runtime.wants import Await, Finish, Halt, Leaf, Want
from resonate_amqp.wire.codec import Call, decode_call
from resonate_amqp.wire.typed import Shape

__all__ = ["Await", "Finish", "Halt", "Leaf", "Replay", "Want"]

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
        self._deferred: dict[str, Callable[[Value, int], None]] = {}
        self._returns: dict[str, Shape | None] = {}
        self._ahead: Counter[str] = Counter()

    def start(self, preload: tuple[Promise, ...], complete: bool, now: int) -> None:
        """Run from the top, as far as what is recorded carries.

        `complete` tells that `preload` holds every settled child. When it does not, a local step
        runs only after the ledger has answered that it did not run before.
        """
        self._complete = complete
        for child in preload:
            self._records.add(child)
            self._ahead[child.tags.get(PARENT, "")] += 1
        if not self._function.workflow:
            self._run_leaf(self._root.id, self._function, self._call, self._root.timeout_at)
            return
        self._open_frame(self._root.id, self._function, self._call, self._root.timeout_at, now)

    @property
    def leaf(self) -> bool:
        """Whether the body is one function that has made no durable call."""
        return not self._function.workflow and self._root.id not in self._frames

    def learn(self, promise: Promise, now: int) -> None:
        """Take in a child's record, pending or settled, and resume whoever waited for it."""
        if self._records.differs(promise):
            return
        deferred = self._deferred.pop(promise.id, None)
        if promise.pending or promise.id in self._records:
            if deferred is not None:
                deferred(promise.param, now)
            return
        self._records.add(promise)
        self._settling.discard(promise.id)
        self._wake(promise.id, now)

    def refused(self, promise_id: str, error: ResonateError, now: int) -> None:
        """A child could not be recorded: its frame gets the error where it waits for it."""
        self._records.refuse(promise_id, error)
        self._settling.discard(promise_id)
        self._wake(promise_id, now)

    def leaf_done(
        self, promise_id: str, value: Any, error: BaseException | None, context: Context, now: int
    ) -> None:
        """A leaf ended for good; a value that cannot be recorded is an error as well."""
        if self._records.ended:
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
            failed = Frame(id=promise_id, context=context, timeout_at=timeout_at)
            self._undo(failed, undo, settle, now)
            return
        if promise_id != self._root.id:
            wants.insert(before, self._records.asked(promise_id))
        self._settle(settle)

    def turned(self, promise_id: str, turn: Turn, now: int) -> None:
        """An `async def` body has awaited commands; by its first it is a leaf no longer."""
        if self._records.ended:
            turn.body.close()
            return
        frame = self._asyncs.get(promise_id) or self._promoted(promise_id, turn)
        frame.heard, frame.quiet = turn.echo, turn.quiet
        if not self._records.branches(turn.branches):
            return
        for key, awaited in turn.asked:
            try:
                answer = self._issue(frame, awaited, now)
            except Exception as refusal:  # what cannot be recorded is raised where it was awaited
                frame.answers.append((key, None, refusal))
                continue
            if isinstance(answer, Wait):
                missing = self._records.missing(frame, answer)
                frame.wait(key, answer, missing)
                if not missing:
                    frame.make_ready(self._records.settled_at(answer), key)
            else:
                frame.answers.append((key, answer, None))

    def take(self) -> list[Want]:
        """What is wanted since the last time, in order; async bodies go on now if they can."""
        for frame in self._asyncs.values():
            self._resume(frame)
        return self._records.take()

    def waits_for(self) -> frozenset[str]:
        """The promises the body waits for, if they are all it waits for; else empty."""
        records = self._records
        if records.wants or self._leaves or self._settling or self._deferred or records.ended:
            return frozenset()
        if not all(frame.idle for frame in self._asyncs.values()):
            return frozenset()
        return frozenset(records.awaited)

    def close(self) -> None:
        """Drop every frame; `finally` blocks run now, or soon on the thread of an async body."""
        self._records.ended = True
        for frame in list(self._frames.values()):
            try:
                if isinstance(frame, GeneratorFrame | AsyncFrame):
                    frame.body.close()
            except BaseException:  # a body must not stop the worker
                log.exception("body %s failed while it was closed", frame.id)
        self._frames.clear()
        self._asyncs.clear()

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
        frame = GeneratorFrame(id=promise_id, body=body, context=context, timeout_at=timeout_at)
        self._frames[promise_id] = frame
        self._advance(frame, None, None, now)

    def _promoted(self, promise_id: str, turn: Turn) -> AsyncFrame:
        """The frame of an `async def` body that has been a leaf until now."""
        self._leaves.discard(promise_id)
        self._record_leaf(promise_id)
        context = turn.body.context
        context.ahead = self._ahead[promise_id]
        timeout_at = self._records.timeout_at(promise_id)
        frame = AsyncFrame(id=promise_id, body=turn.body, context=context, timeout_at=timeout_at)
        self._frames[promise_id] = self._asyncs[promise_id] = frame
        return frame

    def _record_leaf(self, promise_id: str) -> None:
        """Have a local step recorded before its children are; most are when they end."""
        if promise_id != self._root.id and self._complete:
            self._records.wants.append(self._records.asked(promise_id))

    def _resume(self, frame: AsyncFrame) -> None:
        """Hand over what an async body may go on with, unless it is under way already."""
        if frame.running:
            return
        if frame.answers:
            answers, frame.answers = frame.answers, []
        elif frame.ready:
            key, wait = frame.next_ready()
            answers = [(key, *self._records.result(wait))]
        else:
            return
        frame.sent += 1
        frame.body.resume(frame.sent, answers)

    def _advance(
        self, frame: GeneratorFrame, value: Any, error: BaseException | None, now: int
    ) -> None:
        """Run a frame until it waits, returns or raises."""
        while not self._records.ended:
            try:
                body = frame.body
                command = body.send(value) if error is None else body.throw(error)
            except StopIteration as stop:
                self._returned(frame, self._verdict(frame.id, stop.value, None), now)
                return
            except BaseException as raised:  # whatever the body raises is its outcome
                self._returned(frame, verdict_of(frame.id, None, raised), now)
                return
            value, error = None, None
            try:
                answer = self._issue(frame, command, now)
            except Exception as refusal:  # what cannot be recorded is raised where it was yielded
                error = refusal
                continue
            if not isinstance(answer, Wait):
                value = answer
            elif self._records.missing(frame, answer):
                frame.waiting = answer
                return
            else:
                value, error = self._records.result(answer)

    def _issue(self, frame: Frame, command: object, now: int) -> Wait | Promised:
        match command:
            case Invoke(mode=mode):
                if not command.issued:
                    self._issue_invoke(frame, command, now)
                return Wait((command.id,)) if mode.waits else _promised(command)
            case Sleep() | Other():
                if not command.issued:
                    self._records.create(frame, command, now)
                return Wait((command.id,))
            case External():
                if not command.issued:
                    self._records.create(frame, command, now)
                return _promised(command)
            case Promised(place=promise_id):
                if not self._records.of_this_task(promise_id):
                    raise NotDurable(f"promise {promise_id!r} belongs to another execution")
                return Wait((promise_id,))
            case Gather(things=things):
                return Wait(tuple(self._place(frame, thing, now) for thing in things), command)
            case _:
                kind = type(command).__name__
                raise NotDurable(
                    f"{frame.id!r} yielded an object of type {kind}; yield a command of the "
                    "context (ctx.rfc, ctx.lfc, ctx.sleep, …) or what yielding one answered"
                )

    def _place(self, frame: Frame, thing: Command | Promised, now: int) -> str | Exception:
        """Start one part of a gather: the promise to wait for, or why there is none."""
        try:
            self._issue(frame, thing, now)
        except Exception as refusal:  # the others are to be started all the same
            return refusal
        return thing.place if isinstance(thing, Promised) else thing.id

    def _issue_invoke(self, frame: Frame, command: Invoke, now: int) -> None:
        create = self._records.create(frame, command, now, record=not command.local)
        if not command.local or command.id in self._records or self._records.ended:
            return
        function = local_function(self._family, command)

        def run(param: Value, now: int) -> None:
            call = decode_call(param)
            same = call.version == function.version
            it = function if same else local_function(self._family, command, call.version)
            if it.workflow:
                self._open_frame(create.id, it, call, create.timeout_at, now)
            else:
                self._run_leaf(create.id, it, call, create.timeout_at)

        begun_only_now = self._complete and not self._family.may_go_on(function)
        if function.workflow or not begun_only_now:
            self._records.wants.append(create)
        if begun_only_now:
            run(create.param, now)
        else:
            self._deferred[create.id] = run

    def _run_leaf(self, promise_id: str, function: Registered, call: Call, timeout_at: int) -> None:
        self._leaves.add(promise_id)
        self._returns[promise_id] = function.types.returns
        root = promise_id == self._root.id
        executor = None if root else self._family.steps.executor
        self._records.wants.append(Leaf(promise_id, function, call, timeout_at, root, executor))

    def _wake(self, promise_id: str, now: int) -> None:
        """A promise has its outcome: go on wherever it is waited for."""
        for frame in list(self._frames.values()):
            attached = promise_id in frame.attached
            frame.attached.pop(promise_id, None)
            match frame:
                case GeneratorFrame(waiting=Wait() as wait) if promise_id in wait.places:
                    if self._records.complete(wait):
                        frame.waiting = None
                        self._advance(frame, *self._records.result(wait), now)
                    continue
                case AsyncFrame():
                    for key, wait in frame.awoken(promise_id):
                        if self._records.complete(wait):
                            frame.make_ready(self._records.settled_at(wait), key)
            if frame.verdict is not None and attached:
                self._records.tell_unheard(frame.id, promise_id)
                self._complete_if_alone(frame, now)

    def _returned(self, frame: Frame, verdict: PromiseSettle, now: int) -> None:
        """The body ended: it settles once every child it started and never awaited has."""
        frame.verdict = frame.final or verdict
        for promise_id in list(frame.attached):
            if self._records.has_outcome(promise_id):
                del frame.attached[promise_id]
                self._records.tell_unheard(frame.id, promise_id)
            else:
                self._records.listen(promise_id)
        self._complete_if_alone(frame, now)

    def _complete_if_alone(self, frame: Frame, now: int) -> None:
        if frame.attached or frame.verdict is None or frame.id not in self._frames:
            return
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
        failed = GeneratorFrame(
            id=frame.id,
            body=undoing(frame.id, undo),
            context=frame.context,
            timeout_at=frame.timeout_at,
            final=verdict,
        )
        self._frames[frame.id] = failed
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


def _promised(command: Command) -> Promised:
    return Promised(command.mirrored or command.id, command.id)
