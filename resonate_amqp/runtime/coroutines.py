"""Coroutines: one `async def` body and its asyncio branches, driven on the executor's loop.

Every asyncio task that the body starts is a branch of it. A branch is driven by hand, so that
each thing it awaits is seen: a command goes to the replay, which resumes it; anything else goes
to asyncio, while the body is still a leaf. After its first command a body may wait for commands
and for its own branches only, since nothing else is recorded.

What the body does between two resumes is one turn, and one piece of work for the executor: it is
done when every branch waits again.
"""

from __future__ import annotations

import asyncio
import logging
import types
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import suppress
from contextvars import Context as Variables
from dataclasses import dataclass
from typing import Any

from resonate_amqp.errors import NotDurable
from resonate_amqp.runtime.branches import Aside, Branch, Holding, Stubborn, disown, driven
from resonate_amqp.runtime.clocks import Clocks
from resonate_amqp.runtime.commands import Command, Gather, Promised, Race, Timeout
from resonate_amqp.runtime.context import Context
from resonate_amqp.runtime.frames import GIVEN_UP, Answer, Dismissed, Turn
from resonate_amqp.runtime.suspension import combines, holds, is_bare, place_of

log = logging.getLogger(__name__)

CALM_ROUNDS = 4
"""How many rounds of the loop without a step of any branch make a body quiet: callbacks may carry
what one branch has done to another in some rounds."""
MOST_ROUNDS = 100
MOST_REFUSALS = 100

Steps = Generator[Any, Any, Any]
Resolution = tuple[Any, BaseException | None]


@dataclass(frozen=True, slots=True)
class Ended:
    """The outcome of a body whose branches have ended too; `turn` is what they did at last."""

    value: Any
    error: BaseException | None
    turn: Turn | None = None


Work = Callable[[], Awaitable[Turn | Ended | None]]


class Strands:
    """Satisfies `frames.Coroutines`. `begin`, `resume` and `close` are called from any thread.

    `submit` has the executor await some work and tell what it came to; `said` is told, on the
    loop's thread, of what the body did without being resumed.
    """

    def __init__(
        self,
        context: Context,
        start: Callable[[], Awaitable[Any]],
        submit: Callable[[Work], None],
        said: Callable[[Turn | Ended], None],
    ) -> None:
        self.context = context
        self.durable = False
        """Whether a command was awaited."""
        self._start = start
        self._submit = submit
        self._said = said
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn: asyncio.Future[Turn | Ended] | None = None
        self._first_asked: asyncio.Future[None]
        self._clocks = Clocks()
        self._branches: dict[Branch, None] = {}
        self._tasks: set[asyncio.Future[Any]] = set()
        self._pending: dict[int, asyncio.Future[Resolution]] = {}
        self._key = 0
        self._asked: list[tuple[int, object]] = []
        self._new: list[str] = []
        self._echo = self._echoed = 0
        self._owes = False
        self._moved = False
        self._checking = False
        self._calm = self._rounds = 0
        self._returned = False
        self._closing = False
        self._over = False

    def begin(self) -> None:
        """Run the body; its first turn ends at its first command, or with the body."""
        self._submit(self._first)

    def resume(self, number: int, answers: Sequence[Answer]) -> None:
        self._submit(lambda: self._go_on(number, answers))

    def close(self, *, at_once: bool = False) -> None:
        """Cancel every branch; of a body that is a leaf yet, only `at_once`."""
        self._closing = True
        cancel = self._cancel if at_once else self._cancel_if_durable
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: its tasks are canceled
                self._loop.call_soon_threadsafe(cancel)

    @property
    def over(self) -> bool:
        """Whether the body has ended; what its leftovers start is no branch of it."""
        return self._over

    async def _first(self) -> Turn | Ended:
        self._loop = asyncio.get_running_loop()
        self._first_asked = self._loop.create_future()
        self._turn = self._loop.create_future()
        root = Branch(self, self._start(), self.context.id, None)
        self.context.numbers = root
        self._branches[root] = None
        root.task = asyncio.Task(self._run(root), loop=self._loop, context=Variables())
        return await self._turn

    async def _go_on(self, number: int, answers: Sequence[Answer]) -> Turn | Ended | None:
        if self._over or self._loop is None:
            return None
        self._turn = self._loop.create_future()
        self._echo = number
        self._owes = True
        for key, value, error in answers:
            future = self._pending.get(key)
            if future is not None and not future.done():
                future.set_result((value, error))
        self._stir()
        self._check_soon()
        return await self._turn

    async def _run(self, root: Branch) -> None:
        value, error = None, None
        try:
            try:
                value = await driven(root)
            except BaseException as raised:  # whatever the body raises is its outcome
                error = raised
            self._returned = True
            del self._branches[root]
            if not self.durable:
                await self._end_leaf(failed=error is not None)
            if self.durable:
                await self._end_branches()
        finally:
            self._over = True
            asked = self._asked or self._new
            self._report(Ended(value, error, self._turn_of(quiet=True) if asked else None))

    def _report(self, what: Turn | Ended) -> None:
        turn, self._turn = self._turn, None
        if turn is None:
            self._said(what)
        elif not turn.done():
            turn.set_result(what)

    def branch(self, parent: Branch, coroutine: Any, options: dict[str, Any]) -> asyncio.Task[Any]:
        """Start a task of the body; its number is the next of the branch that starts it."""
        branch = Branch(self, coroutine, parent.next_id(), parent)
        self._branches[branch] = None
        self._new.append(branch.id)
        self._stir()
        task: asyncio.Task[Any] = asyncio.Task(driven(branch), loop=self._loop, **options)
        branch.task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _task: self._ended(branch))
        return task

    @types.coroutine
    def suspend(self, branch: Branch, awaited: Any) -> Steps:
        """Wait for what a branch awaits: answers its value, or raises."""
        if isinstance(awaited, Command | Promised | Gather | Race):
            if self._over:
                refusal = f"{branch.id!r} awaited a command after its body had ended"
                log.error("%s; nothing was done: await the task in the body", refusal)
                raise NotDurable(refusal)
            return (yield from self._ask(branch, awaited))
        if self._closing and self.durable:
            yield from self._refuse(branch)
        aside = isinstance(awaited, Aside)
        if not (awaited is None or aside) and self.durable and not self._allows(branch, awaited):
            disown(awaited)
            raise NotDurable(
                f"{self.context.id!r} awaited {place_of(branch.coroutine)} after its first durable "
                "call; what it came to would not be recorded: put it into a function of its own "
                "and await ctx.lfc(function)"
            )
        branch.foreign = aside if self.durable or aside else None
        branch.awaits = awaited
        self._owes = True
        self._check_soon()
        return (yield awaited)

    def stepping(self, branch: Branch) -> None:
        """A branch is about to run."""
        branch.awaits = None
        self._stir()

    def _ended(self, branch: Branch) -> None:
        """A branch has ended, perhaps before it began."""
        self._branches.pop(branch, None)
        self._owes = True
        self._stir()
        self._check_soon()
        with suppress(RuntimeError):  # it had ended by itself, or goes on waiting
            branch.coroutine.close()

    def _ask(self, branch: Branch, awaited: object) -> Steps:
        if self._closing:
            self.durable = True
            self._cancel_if_durable()
            yield from self._refuse(branch)
        key, future = self._open(branch, awaited)
        branch.awaits = future
        branch.foreign = False
        self._owes = True
        if len(self._branches) == 1:
            self._tell()
        else:
            self._check_soon()
        try:
            value, error = yield from future
        finally:
            self.give_up(key)
        if isinstance(error, Dismissed):
            raise asyncio.CancelledError
        if error is not None:
            raise error
        return value

    def _open(self, branch: Branch, awaited: object) -> tuple[int, asyncio.Future[Resolution]]:
        """Have something asked for; the body is a workflow from its first command on."""
        assert self._loop is not None
        if not self.durable:
            self._clocks.refuse_running(self.context.id, self._loop.time())
            self.durable = True
            self._first_asked.set_result(None)
        self._key += 1
        future: asyncio.Future[Resolution] = self._loop.create_future()
        self._pending[self._key] = future
        self._asked.append((self._key, awaited))
        return self._key, future

    def give_up(self, key: int) -> None:
        """An await goes on: with its answer, or without one, and then it is asked for no more."""
        future = self._pending.pop(key, None)
        answered = future is None or (future.done() and not future.cancelled())
        if not (answered or self._closing):
            self._asked.append((key, GIVEN_UP))
            self._owes = True
            self._check_soon()

    def limit(self, branch: Branch, limit: Timeout) -> Holding:
        """Ask for a limit's timer; when it is due the branch is canceled, as by asyncio.timeout."""
        if self._over or branch.task is None:
            raise NotDurable(f"{branch.id!r} set a limit after its body had ended")
        key, future = self._open(branch, limit)
        task = branch.task
        holding = Holding(key, task.cancelling())
        self._owes = True
        self._check_soon()

        def passed(timer: asyncio.Future[Resolution]) -> None:
            in_vain = timer.cancelled() or self._closing
            if branch.holding.get(limit.id) is holding and not in_vain:
                holding.fired = True
                self._stir()
                task.cancel()

        future.add_done_callback(passed)
        return holding

    def clocked(self, handle: asyncio.TimerHandle) -> None:
        """A limit by the clock of this process was set; no durable call may stand under it.

        Raises NotDurable in a workflow.
        """
        self._clocks.add(handle)
        if self.durable and self._loop is not None:
            self._clocks.refuse_running(self.context.id, self._loop.time())

    def _refuse(self, branch: Branch) -> Steps:
        """The body is closed: whatever it waits for in its `finally` blocks does not come."""
        branch.refusals += 1
        if branch.refusals > MOST_REFUSALS:
            raise Stubborn
        yield
        raise asyncio.CancelledError

    def _cancel_if_durable(self) -> None:
        if self.durable:
            self._cancel()

    def _cancel(self) -> None:
        if not self._over:
            for branch in list(self._branches):
                if branch.task is not None:
                    branch.task.cancel()

    async def _end_leaf(self, *, failed: bool) -> None:
        """A leaf has returned: a branch that can still make a durable call is part of it."""
        while not self.durable:
            tasks = [one.task for one in self._branches if one.task is not None and _may_call(one)]
            if failed:
                for task in tasks:
                    task.cancel()
            if not tasks:
                return
            await asyncio.wait([*tasks, self._first_asked], return_when=asyncio.FIRST_COMPLETED)

    async def _end_branches(self) -> None:
        """What the body started and did not await goes on until it ends or cannot."""
        while tasks := [one.task for one in self._branches if one.task is not None]:
            self._owes = True
            self._check_soon()
            await asyncio.wait(tasks)

    def _stir(self) -> None:
        self._moved = True

    def _check_soon(self) -> None:
        if not self._checking and self.durable and self._loop is not None:
            self._checking = True
            self._calm = self._rounds = 0
            self._loop.call_soon(self._check)

    def _check(self) -> None:
        self._calm = 0 if self._moved else self._calm + 1
        self._rounds += 1
        self._moved = False
        restless = self._calm < CALM_ROUNDS or any(one.settled() for one in self._branches)
        # A branch that never waits must not keep what the others await from being told.
        patient = self._rounds < MOST_ROUNDS or not (self._asked or self._echo != self._echoed)
        if self._owes and restless and patient and self._loop is not None:
            self._loop.call_soon(self._check)
            return
        self._checking = False
        if self._owes:
            self._tell(restless)

    def _tell(self, restless: bool = False) -> None:
        """Tell of the turn; after the body's end, of nothing but awaits."""
        self._owes = self._moved = False
        self._echoed = self._echo
        quiet = not (restless or any(map(self._is_foreign, self._branches)))
        if self._returned and not self._pending:
            # Nobody is left who could wake these branches.
            self._closing = True
            self._cancel_if_durable()
            return
        self._report(self._turn_of(quiet))

    def _turn_of(self, quiet: bool) -> Turn:
        asked, self._asked = self._asked, []
        new, self._new = self._new, []
        idle = self._returned and all(is_bare(one.coroutine) for one in self._branches)
        return Turn(self, self._echo, tuple(asked), tuple(new), quiet, idle)

    def _is_foreign(self, branch: Branch) -> bool:
        if branch.foreign is None:
            branch.foreign = not self._allows(branch, branch.awaits)
        return branch.foreign

    def _allows(self, branch: Branch, awaited: Any) -> bool:
        """Whether what is awaited depends on nothing but commands and branches of this body."""
        if awaited is None or awaited in self._tasks:
            return True
        parts = getattr(awaited, "_children", None)
        if parts is not None:
            return all(part.done() or self._allows(branch, part) for part in parts)
        return not isinstance(awaited, asyncio.Task) and combines(branch.coroutine)


def _may_call(branch: Branch) -> bool:
    """Whether a branch can still make a durable call, as far as its variables tell."""
    kinds = (Context, Command, Promised, Gather, Race)
    return branch.last > 0 or holds(branch.coroutine, kinds)
