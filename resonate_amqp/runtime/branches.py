"""Branches: the asyncio tasks of an `async def` body, each driven by hand on the loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import Context as Variables
from dataclasses import dataclass
from typing import Any, Protocol

from resonate_amqp.errors import NotDurable
from resonate_amqp.runtime.clocks import is_limit
from resonate_amqp.runtime.commands import Timeout
from resonate_amqp.runtime.numbers import CURRENT, Numbers
from resonate_amqp.runtime.suspension import place_of

log = logging.getLogger(__name__)


class Driver(Protocol):
    """What drives the branches of one body."""

    @property
    def over(self) -> bool:
        """Whether the body has ended."""
        ...

    def branch(self, parent: Branch, coroutine: Any, options: dict[str, Any]) -> asyncio.Task[Any]:
        """Start a task of the body."""
        ...

    def stepping(self, branch: Branch) -> None:
        """A branch is about to run."""
        ...

    def suspend(self, branch: Branch, awaited: Any) -> Awaitable[Any]:
        """Wait for what a branch awaits: answers its value, or raises."""
        ...

    def limit(self, branch: Branch, limit: Timeout) -> Holding:
        """Ask for the timer of a limit."""
        ...

    def give_up(self, key: int) -> None:
        """An await goes on, with its answer or without one."""
        ...

    def clocked(self, handle: asyncio.TimerHandle) -> None:
        """A limit by the clock of this process was set; raises NotDurable in a workflow."""
        ...


class Aside(asyncio.Future[Any]):
    """A step of the body itself that another thread runs: a body may always wait for that."""


@dataclass(slots=True)
class Holding:
    """A time limit that holds in a branch: the key of its timer, and whether it has passed."""

    key: int
    cancelling: int
    fired: bool = False


class Branch(Numbers):
    """One asyncio task of a body, with the number space of what it builds."""

    __slots__ = ("awaits", "coroutine", "foreign", "holding", "refusals", "strands", "task")

    def __init__(self, strands: Driver, coroutine: Any, promise_id: str, parent: Branch | None):
        super().__init__(promise_id, parent.body if parent is not None else None)
        self.strands = strands
        self.coroutine = coroutine
        self.task: asyncio.Task[Any] | None = None
        self.awaits: Any = None
        """What it waits for now; None while it runs."""
        self.foreign: bool | None = False
        """Whether it waits for something that is not durable; None if that was not looked at."""
        self.refusals = 0
        self.holding: dict[str, Holding] = {}

    def enter(self, limit: Timeout) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise NotDurable(
                f"{self.id!r} runs in a thread of its own, where a block cannot be cut short: "
                "yield ctx.race(call, ctx.timeout(seconds)) instead"
            ) from None
        self.holding[limit.id] = self.strands.limit(self, limit)

    def leave(self, limit: Timeout, error: BaseException | None) -> bool:
        holding = self.holding.pop(limit.id, None)
        if holding is None:
            return False
        self.strands.give_up(holding.key)
        if not holding.fired or self.task is None:
            return False
        # As in asyncio.timeout: another cancellation of the branch must not be taken for ours.
        ours = self.task.uncancel() <= holding.cancelling
        return ours and isinstance(error, asyncio.CancelledError)

    def settled(self) -> bool:
        """Whether it will run without anything being answered."""
        return self.awaits is None or due(self.awaits)


class Stubborn(BaseException):
    """A closed body caught its cancellation again and again."""


async def driven(branch: Branch) -> Any:
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
            except Stubborn:
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


def stepping() -> bool:
    """Whether the caller is an async body, or what it calls, on the loop that runs the bodies."""
    if not isinstance(CURRENT.get(), Branch):
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # a thread that was handed the context variables
        return False
    return True


def due(awaited: Any) -> bool:
    """Whether whoever waits for this is about to be woken."""
    parts = getattr(awaited, "_children", None)
    if parts is not None and all(map(due, parts)):
        return True
    return isinstance(awaited, asyncio.Future) and awaited.done()


def disown(awaited: Any) -> None:
    """Nobody waits for this future after all."""
    if getattr(awaited, "_asyncio_future_blocking", False):
        awaited._asyncio_future_blocking = False


def hosting(loop: asyncio.AbstractEventLoop) -> None:
    """Have a loop run bodies: tasks become their branches, and limits are seen."""
    loop.set_task_factory(branching)
    call_at = loop.call_at

    def watched(
        when: float, callback: Callable[..., Any], *args: Any, context: Variables | None = None
    ) -> asyncio.TimerHandle:
        handle = call_at(when, callback, *args, context=context)
        current = CURRENT.get()
        if isinstance(current, Branch) and not current.strands.over and is_limit(callback):
            try:
                current.strands.clocked(handle)
            except BaseException:
                handle.cancel()
                raise
        return handle

    with suppress(AttributeError):  # a loop of another library, which has no such attribute to set
        vars(loop)["call_at"] = watched


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
