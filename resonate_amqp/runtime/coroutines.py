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
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from resonate_amqp.errors import NotDurable
from resonate_amqp.runtime.commands import Command, Gather, Promised
from resonate_amqp.runtime.context import Context
from resonate_amqp.runtime.frames import Answer, Turn
from resonate_amqp.runtime.numbers import CURRENT, Numbers
from resonate_amqp.runtime.suspension import combines, place_of

log = logging.getLogger(__name__)

CALM_ROUNDS = 4
"""How many rounds of the loop without a step of any branch make a body quiet: callbacks may carry
what one branch has done to another in some rounds."""
MOST_ROUNDS = 100
MOST_REFUSALS = 100

Steps = Generator[Any, Any, Any]
Resolution = tuple[Any, BaseException | None]


class Aside(asyncio.Future[Any]):
    """A step of the body itself that another thread runs: a body may always wait for that."""


class Branch(Numbers):
    """One asyncio task of a body, with the number space of what it builds."""

    __slots__ = ("awaits", "coroutine", "foreign", "refusals", "strands", "task")

    def __init__(self, strands: Strands, coroutine: Any, promise_id: str, parent: Branch | None):
        super().__init__(promise_id, parent.body if parent is not None else None)
        self.strands = strands
        self.coroutine = coroutine
        self.task: asyncio.Task[Any] | None = None
        self.awaits: Any = None
        """What it waits for now; None while it runs."""
        self.foreign: bool | None = False
        """Whether it waits for something that is not durable; None if that was not looked at."""
        self.refusals = 0

    def settled(self) -> bool:
        """Whether it will run without anything being answered."""
        return self.awaits is None or _due(self.awaits)


@dataclass(frozen=True, slots=True)
class Ended:
    """The outcome of a body whose branches have ended too."""

    value: Any
    error: BaseException | None


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

    def close(self) -> None:
        self._closing = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: its tasks are canceled
                self._loop.call_soon_threadsafe(self._cancel_if_durable)

    @property
    def over(self) -> bool:
        """Whether the body has ended; what its leftovers start is no branch of it."""
        return self._over

    async def _first(self) -> Turn | Ended:
        self._loop = asyncio.get_running_loop()
        self._turn = self._loop.create_future()
        root = Branch(self, self._start(), self.context.id, None)
        self.context.numbers = root
        self._branches[root] = None
        root.task = asyncio.Task(self._run(root), loop=self._loop)
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
                value = await _driven(root)
            except BaseException as raised:  # whatever the body raises is its outcome
                error = raised
            self._returned = True
            del self._branches[root]
            if self.durable:
                await self._end_branches()
        finally:
            self._over = True
            self._report(Ended(value, error))

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
        task: asyncio.Task[Any] = asyncio.Task(_driven(branch), loop=self._loop, **options)
        branch.task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _task: self._ended(branch))
        return task

    @types.coroutine
    def suspend(self, branch: Branch, awaited: Any) -> Steps:
        """Wait for what a branch awaits: answers its value, or raises."""
        if isinstance(awaited, Command | Promised | Gather):
            if self._over:
                raise NotDurable(f"{branch.id!r} awaited a command after its body had ended")
            return (yield from self._ask(branch, awaited))
        if self._closing and self.durable:
            yield from self._refuse(branch)
        aside = isinstance(awaited, Aside)
        if not (awaited is None or aside) and self.durable and not self._allows(branch, awaited):
            _disown(awaited)
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
        assert self._loop is not None
        self.durable = True
        self._key += 1
        key = self._key
        future: asyncio.Future[Resolution] = self._loop.create_future()
        self._pending[key] = future
        self._asked.append((key, awaited))
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
            self._pending.pop(key, None)
        if error is not None:
            raise error
        return value

    def _refuse(self, branch: Branch) -> Steps:
        """The body is closed: whatever it waits for in its `finally` blocks does not come."""
        branch.refusals += 1
        if branch.refusals > MOST_REFUSALS:
            raise _Stubborn
        yield
        raise asyncio.CancelledError

    def _cancel_if_durable(self) -> None:
        if self.durable and not self._over:
            for branch in list(self._branches):
                if branch.task is not None:
                    branch.task.cancel()

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
        asked, self._asked = self._asked, []
        new, self._new = self._new, []
        self._report(Turn(self, self._echo, tuple(asked), tuple(new), quiet))

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


class _Stubborn(BaseException):
    """A closed body caught its cancellation again and again."""


async def _driven(branch: Branch) -> Any:
    """What the asyncio task of a branch runs instead of the branch's own coroutine."""
    strands, coroutine = branch.strands, branch.coroutine
    value: Any = None
    error: BaseException | None = None
    try:
        while True:
            strands.stepping(branch)
            token = CURRENT.set(branch)
            try:
                awaited = coroutine.send(value) if error is None else coroutine.throw(error)
            except StopIteration as stop:
                return stop.value
            finally:
                CURRENT.reset(token)
            value, error = None, None
            try:
                value = await strands.suspend(branch, awaited)
            except _Stubborn:
                _abandon(branch)
                raise asyncio.CancelledError from None
            except BaseException as raised:  # it is raised where the branch awaits
                error = raised
    except (KeyboardInterrupt, SystemExit) as exit_:
        # These end the loop of the process when a task raises them.
        raise RuntimeError(f"{branch.id!r} raised {exit_!r}") from exit_


def _abandon(branch: Branch) -> None:
    log.error(
        "%s was closed and goes on waiting in %s; it is abandoned there",
        branch.id,
        place_of(branch.coroutine),
    )
    try:
        branch.coroutine.close()
    except BaseException:  # it catches that as well
        log.exception("%s failed while it was closed", branch.id)


def _due(awaited: Any) -> bool:
    """Whether whoever waits for this is about to be woken."""
    parts = getattr(awaited, "_children", None)
    if parts is not None and all(map(_due, parts)):
        return True
    return isinstance(awaited, asyncio.Future) and awaited.done()


def _disown(awaited: Any) -> None:
    """Nobody waits for this future after all."""
    if getattr(awaited, "_asyncio_future_blocking", False):
        awaited._asyncio_future_blocking = False


def branching(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    **options: Any,
) -> asyncio.Task[Any]:
    """The task factory of a loop on which bodies run: what a body starts is a branch of it."""
    current = CURRENT.get()
    if isinstance(current, Branch) and not current.strands.over:
        options.pop("eager_start", None)
        return current.strands.branch(current, coroutine, options)
    return asyncio.Task(coroutine, loop=loop, **options)
