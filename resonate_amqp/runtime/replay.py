"""Replay: drives the body of one task, from the top, on what is recorded. Sans-IO.

The driver is told what became known (`learn`, `leaf_done`) and answers with what it wants
recorded, run or awaited (`take`). It resumes a body with a step's result only once that result
is recorded; so what a body has seen is what it will see again. A local workflow runs as a frame
of its own inside the same task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any

from resonate_amqp.core.model import Promise, PromiseState
from resonate_amqp.core.requests import PromiseCreate, PromiseSettle
from resonate_amqp.errors import NotDurable, ResonateError
from resonate_amqp.runtime.children import Family, create_of, difference, local_function
from resonate_amqp.runtime.commands import Command, External, Invoke, Mode, Promised, Sleep
from resonate_amqp.runtime.context import Context, Info
from resonate_amqp.runtime.outcomes import outcome_of, verdict_of
from resonate_amqp.runtime.registry import Registered
from resonate_amqp.wire.codec import Call, decode_call

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A function to be run off the loop; `leaf_done` is to be told how it ended."""

    id: str
    function: Registered
    call: Call
    timeout_at: int
    root: bool


@dataclass(frozen=True, slots=True)
class Await:
    """A promise whose outcome must be heard of."""

    id: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The task's own outcome; nothing is wanted after it."""

    settle: PromiseSettle


@dataclass(frozen=True, slots=True)
class Halt:
    """The body does not do what its record says; nobody can go on with it."""

    reason: str


Want = PromiseCreate | PromiseSettle | Leaf | Await | Finish | Halt
Body = Generator[Any, Any, Any]


@dataclass(slots=True)
class _Frame:
    """One generator: the task's own, or a local workflow's."""

    id: str
    body: Body
    context: Context
    timeout_at: int
    waiting: str | None = None
    attached: dict[str, None] = field(default_factory=dict)
    verdict: PromiseSettle | None = None


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
        self._frames: dict[str, _Frame] = {}
        self._known: dict[str, Promise] = {}
        self._asked: dict[str, PromiseCreate] = {}
        self._awaited: set[str] = set()
        self._leaves: set[str] = set()
        self._settling: set[str] = set()
        self._wants: list[Want] = []
        self._ended = False
        self._complete = True
        self._deferred: dict[str, Callable[[int], None]] = {}
        self._errors: dict[str, ResonateError] = {}

    def start(self, preload: tuple[Promise, ...], complete: bool, now: int) -> None:
        """Run from the top, as far as what is recorded carries.

        `complete` tells that `preload` holds every settled child. When it does not, a local step
        runs only after the ledger has answered that it did not run before.
        """
        self._complete = complete
        for child in preload:
            self._known[child.id] = child
        if not self._function.workflow:
            self._run_leaf(self._root.id, self._function, self._call, self._root.timeout_at)
            return
        self._open_frame(self._root.id, self._function, self._call, self._root.timeout_at, now)

    def learn(self, promise: Promise, now: int) -> None:
        """Take in a child's record, pending or settled, and resume whoever waited for it."""
        asked = self._asked.get(promise.id)
        if asked is not None and self._differs(promise, asked):
            return
        deferred = self._deferred.pop(promise.id, None)
        if promise.pending or promise.id in self._known:
            if deferred is not None:
                deferred(now)
            return
        self._known[promise.id] = promise
        self._settling.discard(promise.id)
        self._awaited.discard(promise.id)
        self._wake(promise, now)

    def refused(self, promise_id: str, error: ResonateError, now: int) -> None:
        """A child could not be recorded: its frame gets the error where it waits for it."""
        self._errors[promise_id] = error
        self._settling.discard(promise_id)
        self._awaited.discard(promise_id)
        for frame in list(self._frames.values()):
            attached = promise_id in frame.attached
            frame.attached.pop(promise_id, None)
            if frame.waiting == promise_id:
                frame.waiting = None
                self._advance(frame, None, error, now)
            elif frame.verdict is not None and attached:
                log.warning("%s ended without awaiting %s: %s", frame.id, promise_id, error)
                self._complete_if_alone(frame, now)

    def leaf_done(
        self, promise_id: str, value: Any, error: BaseException | None, context: Context, now: int
    ) -> None:
        """A leaf ended for good; a value that cannot be recorded is an error as well."""
        self._leaves.discard(promise_id)
        wanted = len(self._wants)
        settle = verdict_of(promise_id, value, error)
        if settle.state is PromiseState.RESOLVED:
            settle = self._dispatch_unissued(context, settle, now)
        if promise_id == self._root.id:
            self._finish(settle)
            return
        self._settling.add(promise_id)
        self._wants.insert(wanted, self._asked[promise_id])
        self._wants.append(settle)

    def take(self) -> list[Want]:
        """What is wanted since the last time, in order."""
        wants, self._wants = self._wants, []
        return wants

    def waits_for(self) -> frozenset[str]:
        """The promises the body waits for, if they are all it waits for; else empty."""
        if self._wants or self._leaves or self._settling or self._deferred or self._ended:
            return frozenset()
        return frozenset(self._awaited)

    def close(self) -> None:
        """Drop every frame; a generator's `finally` blocks run now."""
        self._ended = True
        for frame in list(self._frames.values()):
            try:
                frame.body.close()
            except BaseException:  # a body must not stop the worker
                log.exception("body %s failed while it was closed", frame.id)
        self._frames.clear()

    def _open_frame(
        self, promise_id: str, function: Registered, call: Call, timeout_at: int, now: int
    ) -> None:
        context = self._context(promise_id, timeout_at, function.version, 1)
        try:
            function.check(call.args, call.kwargs)
            body = function.func(context, *call.args, **call.kwargs)
        except Exception as error:  # whatever the user's function raises is its outcome
            self._settle_frame(promise_id, verdict_of(promise_id, None, error))
            return
        frame = _Frame(promise_id, body, context, timeout_at)
        self._frames[promise_id] = frame
        self._advance(frame, None, None, now)

    def _advance(self, frame: _Frame, value: Any, error: BaseException | None, now: int) -> None:
        """Run a frame until it waits, returns or raises."""
        while not self._ended:
            try:
                body = frame.body
                command = body.send(value) if error is None else body.throw(error)
            except StopIteration as stop:
                self._returned(frame, verdict_of(frame.id, stop.value, None), now)
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
            if isinstance(answer, _Wait):
                known = self._known.get(answer.id)
                if answer.id in self._errors:
                    error = self._errors[answer.id]
                elif known is None:
                    frame.waiting = answer.id
                    self._await(answer.id)
                    return
                else:
                    frame.attached.pop(answer.id, None)
                    value, error = outcome_of(known)
            else:
                value = answer

    def _issue(self, frame: _Frame, command: object, now: int) -> _Wait | Promised:
        match command:
            case Invoke(mode=mode):
                if not command.issued:
                    self._issue_invoke(frame, command, now)
                return _Wait(command.id) if mode.waits else Promised(command.id)
            case Sleep():
                if not command.issued:
                    self._create(frame, command, now)
                return _Wait(command.id)
            case External():
                if not command.issued:
                    self._create(frame, command, now)
                return Promised(command.id)
            case Promised(id=promise_id):
                if promise_id not in self._asked and promise_id not in self._known:
                    raise NotDurable(f"promise {promise_id!r} belongs to another execution")
                return _Wait(promise_id)
            case _:
                kind = type(command).__name__
                raise NotDurable(
                    f"{frame.id!r} yielded an object of type {kind}; yield a command of the "
                    "context (ctx.rfc, ctx.lfc, ctx.sleep, …) or what yielding one answered"
                )

    def _issue_invoke(self, frame: _Frame, command: Invoke, now: int) -> None:
        create = self._create(frame, command, now, record=not command.mode.local)
        if not command.mode.local or command.id in self._known or self._ended:
            return
        function = local_function(self._family, command)
        if command.retry_policy is not None:
            function = replace(function, retry=command.retry_policy)
        call = decode_call(create.param)

        def run(now: int) -> None:
            if function.workflow:
                self._open_frame(create.id, function, call, create.timeout_at, now)
            else:
                self._run_leaf(create.id, function, call, create.timeout_at)

        if function.workflow or not self._complete:
            self._wants.append(create)
        if self._complete:
            run(now)
        else:
            self._deferred[create.id] = run

    def _create(
        self, frame: _Frame, command: Command, now: int, *, record: bool = True
    ) -> PromiseCreate:
        command.issued = True
        create = create_of(self._family, frame.id, frame.timeout_at, command, now)
        self._asked[create.id] = create
        known = self._known.get(create.id)
        if known is not None:
            self._differs(known, create)
        else:
            if record:
                self._wants.append(create)
            if not (isinstance(command, Invoke) and command.mode is Mode.DETACHED):
                frame.attached[create.id] = None
        return create

    def _run_leaf(self, promise_id: str, function: Registered, call: Call, timeout_at: int) -> None:
        self._leaves.add(promise_id)
        root = promise_id == self._root.id
        self._wants.append(Leaf(promise_id, function, call, timeout_at, root))

    def _await(self, promise_id: str) -> None:
        local = self._asked[promise_id].tags.get("resonate:scope") == "local"
        if not local and promise_id not in self._awaited:
            self._awaited.add(promise_id)
            self._wants.append(Await(promise_id))

    def _wake(self, promise: Promise, now: int) -> None:
        for frame in list(self._frames.values()):
            attached = promise.id in frame.attached
            frame.attached.pop(promise.id, None)
            if frame.waiting == promise.id:
                frame.waiting = None
                self._advance(frame, *outcome_of(promise), now)
            elif frame.verdict is not None and attached:
                self._log_failure(frame, promise)
                self._complete_if_alone(frame, now)

    def _returned(self, frame: _Frame, verdict: PromiseSettle, now: int) -> None:
        """The body ended: it settles once every child it started and never awaited has."""
        frame.verdict = verdict
        for promise_id in list(frame.attached):
            known = self._known.get(promise_id)
            if known is None:
                self._await(promise_id)
            else:
                del frame.attached[promise_id]
                self._log_failure(frame, known)
        self._complete_if_alone(frame, now)

    def _complete_if_alone(self, frame: _Frame, now: int) -> None:
        if frame.attached or frame.verdict is None or frame.id not in self._frames:
            return
        del self._frames[frame.id]
        verdict = frame.verdict
        if verdict.state is PromiseState.RESOLVED:
            verdict = self._dispatch_unissued(frame.context, verdict, now)
        self._settle_frame(frame.id, verdict)

    def _settle_frame(self, promise_id: str, verdict: PromiseSettle) -> None:
        if promise_id == self._root.id:
            self._finish(verdict)
        else:
            self._settling.add(promise_id)
            self._wants.append(verdict)

    def _dispatch_unissued(
        self, context: Context, verdict: PromiseSettle, now: int
    ) -> PromiseSettle:
        """Create what was built and never yielded; what cannot be created fails the body."""
        for command in context.unissued():
            if not isinstance(command, Invoke) or command.mode.local:
                log.warning(
                    "%s built %s and never yielded it: nothing was done", context.id, command.id
                )
            else:
                command.mode = Mode.DETACHED
                try:
                    create = create_of(self._family, context.id, 0, command, now)
                except Exception as error:  # what cannot be recorded is the outcome
                    return verdict_of(verdict.id, None, error)
                self._wants.append(create)
                log.debug("%s dispatched %s, which it never yielded", context.id, command.id)
        return verdict

    def _finish(self, settle: PromiseSettle) -> None:
        self._ended = True
        self._wants.append(Finish(settle))

    def _differs(self, recorded: Promise, asked: PromiseCreate) -> bool:
        found = difference(recorded, asked)
        if found and not self._ended:
            self._ended = True
            self._wants.append(Halt(f"{self._root.id!r} is not deterministic: {found}"))
        return bool(found)

    def _context(self, promise_id: str, timeout_at: int, version: int, attempt: int) -> Context:
        tags = self._root.tags if promise_id == self._root.id else {}
        return self._make_context(promise_id, Info(attempt, timeout_at, version, tags))

    def _log_failure(self, frame: _Frame, promise: Promise) -> None:
        if promise.state is not PromiseState.RESOLVED:
            log.warning(
                "%s ended without awaiting %s, which was %s", frame.id, promise.id, promise.state
            )


@dataclass(frozen=True, slots=True)
class _Wait:
    id: str
