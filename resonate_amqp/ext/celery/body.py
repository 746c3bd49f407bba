"""Body: a task's function, run step by step in the pool's own thread.

The runtime drives an `async def` entry on its loop; each step of the user's code is lent back to
the thread that Celery gave the task, where the current task and its request are.
"""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from resonate_amqp.errors import NotDurable
from resonate_amqp.ext.celery.calls import adapt
from resonate_amqp.ext.celery.outcomes import ends_the_process, recordable
from resonate_amqp.ext.celery.shapes import Shape, name_of
from resonate_amqp.ext.lending import Lent, LentExecutor, Withdrawn
from resonate_amqp.ext.plain import carried
from resonate_amqp.runtime.commands import Command, Gather, Invoke, Promised, Race
from resonate_amqp.runtime.context import Context
from resonate_amqp.runtime.locally import LocalSteps
from resonate_amqp.runtime.outcomes import Final, Postponed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Yielded:
    """The function waits for this."""

    thing: Any


@dataclass(frozen=True, slots=True)
class Returned:
    """The function has ended."""

    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """The function has failed; `postponed_s` tells for how long, if that is no outcome."""

    error: Exception
    postponed_s: float | None


Step = Yielded | Returned | Raised
Begin = Callable[[Context], Any]
"""Calls the function: what it returns, or the generator that it makes."""
Judge = Callable[[Exception], float | None]
"""For how long an error postpones the task; None for one that is its outcome."""
Prepare = Callable[[Context], None]
"""Called after each step of a workflow, before what it built is recorded."""


class Body:
    """One run of a task's function. `run` belongs to the runtime's loop, the rest to the thread."""

    def __init__(
        self,
        shape: Shape,
        begin: Begin,
        begins: Callable[[int], None],
        lent: Lent,
        judge: Judge,
        prepare: Prepare,
    ) -> None:
        self.taken = 0
        """How often the task was taken by somebody, this time included."""
        self.raised: BaseException | None = None
        """What the function raised, for Celery to see as it was."""
        self.interruption: Exception | None = None
        """What a signal raised while the function was waiting; it is raised in its next step."""
        self.lent = lent
        self.steps = LocalSteps(LentExecutor(lent, self._attempted), carried)
        """Local functions run in the thread that the task has, and carry what its results do."""
        # What was set where the task began is there; what it sets, no other task sees.
        self._variables = contextvars.copy_context()
        self._name = name_of(shape.func)
        self._result = carried(shape.returns)
        self._begin_with = begin
        self._begins = begins
        self._judge = judge
        self._prepare = prepare
        self._generator: Generator[Any, Any, Any] | None = None
        self._adapted: set[str] = set()

    async def run(self, ctx: Context) -> Any:
        """What the function returns, plain; raises what it raised, or Postponed."""
        try:
            return await self._run(ctx)
        except Withdrawn:
            raise Postponed(0.0) from None

    def close(self) -> None:
        """Unwind a function that does not go on here."""
        if self._generator is None:
            return
        try:
            self._variables.run(self._generator.close)
        except Exception:  # the user's `finally` may do anything
            log.exception("%s failed while it was left", self._name)

    async def aside(self, work: Callable[[], Any]) -> Any:
        """What some work comes to that is done in the thread, between two steps."""
        return await self.lent.acall(partial(self._variables.copy().run, work))

    async def _run(self, ctx: Context) -> Any:
        step = await self._stepped(ctx, partial(self._begin, ctx))
        while isinstance(step, Yielded):
            work: Callable[[], Step]
            try:
                value = await _durable(step.thing)
            except Exception as error:
                work = partial(self._throw, error)
            else:
                work = partial(self._send, value)
            step = await self._stepped(ctx, work)
        if isinstance(step, Returned):
            left = isinstance(step.value, Command)
            # The runtime says what is wrong with a command that was not yielded.
            return step.value if left else self._result.flatten(step.value, "result")
        if step.postponed_s is not None:
            raise Postponed(step.postponed_s)
        raise step.error

    async def _stepped(self, ctx: Context, work: Callable[[], Step]) -> Step:
        guarded = partial(self._variables.run, self._guarded, ctx, work)
        step: Step = await self.lent.acall(guarded)
        return step

    def _attempted(self, work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
        """What a local function comes to, in the thread."""
        try:
            return self._variables.copy().run(work), None
        except SoftTimeLimitExceeded as error:
            # The time limit is the task's, whatever the local function's retry policy. The body
            # gets it where it awaits the function, live and on replay.
            return None, Final(error)
        except BaseException as error:
            if not isinstance(error, Exception) and ends_the_process(error):
                raise
            return None, error

    def _guarded(self, ctx: Context, work: Callable[[], Step]) -> Step:
        try:
            if (interruption := self.interruption) is not None:
                self.interruption = None
                work = partial(self._throw, interruption)
            step = work()
            self._adapt(ctx)
            self._prepare(ctx)
        except Exception as error:
            self.raised = error
            return Raised(error, self._judge(error))
        except BaseException as error:
            if ends_the_process(error):
                raise
            self.raised = error
            return Raised(recordable(error), None)
        return step

    def _adapt(self, ctx: Context) -> None:
        for command in (*ctx.unissued(), *ctx._compensations):
            if (
                isinstance(command, Invoke)
                and not command.local
                and command.id not in self._adapted
            ):
                self._adapted.add(command.id)
                adapt(command)

    def _begin(self, ctx: Context) -> Step:
        self._begins(self.taken)
        made = self._begin_with(ctx)
        if not isinstance(made, Generator):
            return Returned(made)
        self._generator = made
        return self._send(None)

    def _send(self, value: Any) -> Step:
        assert self._generator is not None
        try:
            return Yielded(self._generator.send(value))
        except StopIteration as stop:
            return Returned(stop.value)

    def _throw(self, error: Exception) -> Step:
        if self._generator is None:
            raise error
        try:
            return Yielded(self._generator.throw(error))
        except StopIteration as stop:
            return Returned(stop.value)


async def _durable(thing: Any) -> Any:
    """The value of what a function yielded."""
    if isinstance(thing, Command | Promised | Gather | Race):
        return await thing
    raise NotDurable(
        f"the task yielded an object of type {type(thing).__name__}; yield ctx.rfc(…), ctx.rfi(…), "
        "or what yielding one answered"
    )
