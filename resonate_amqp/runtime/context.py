"""Context: what a durable function is given as its first argument."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from resonate_amqp.errors import NotDurable, UsageError
from resonate_amqp.runtime.commands import (
    Command,
    Compensation,
    External,
    Gather,
    Invoke,
    Mode,
    Other,
    Promised,
    Race,
    Seconds,
    Sleep,
    Timeout,
    seconds_of,
)
from resonate_amqp.runtime.numbers import CURRENT, Numbers
from resonate_amqp.runtime.recorded import RecordedRandom, RecordedTime
from resonate_amqp.wire.address import check_id

log = logging.getLogger("resonate_amqp.functions")

C = TypeVar("C", bound=Command)


@dataclass(frozen=True, slots=True)
class Info:
    """What is known about the present execution.

    `attempt` counts from 1 within this process; `timeout_at` is the deadline in epoch ms;
    `version` that of the function.
    """

    attempt: int
    timeout_at: int
    version: int
    tags: Mapping[str, str] = field(default_factory=dict)


class Context:
    """Builds commands, numbered in the order in which the body builds them."""

    def __init__(
        self,
        promise_id: str,
        info: Info,
        dependencies: Mapping[str, Any],
    ) -> None:
        self.id = promise_id
        self.info = info
        self.numbers = Numbers(promise_id)
        self.ahead = 0
        """How many recorded steps the body has not come to yet; above 0 it is being replayed."""
        self._dependencies = dependencies
        self._built: list[Command] = []
        self._compensations: list[Compensation] = []

    def rfc(self, func: str | Callable[..., Any], /, *args: Any, **kwargs: Any) -> Invoke:
        """Call a function wherever its target is, and wait for its value."""
        return self._invoke(Mode.RFC, func, args, kwargs)

    def rfi(self, func: str | Callable[..., Any], /, *args: Any, **kwargs: Any) -> Invoke:
        """Start a function wherever its target is; `yield` the answer later for its value."""
        return self._invoke(Mode.RFI, func, args, kwargs)

    def lfc(self, func: str | Callable[..., Any], /, *args: Any, **kwargs: Any) -> Invoke:
        """Call a function in this process as a recorded step."""
        return self._invoke(Mode.LFC, func, args, kwargs)

    def lfi(self, func: str | Callable[..., Any], /, *args: Any, **kwargs: Any) -> Invoke:
        """Start a function in this process as a recorded step."""
        return self._invoke(Mode.LFI, func, args, kwargs)

    def detached(self, func: str | Callable[..., Any], /, *args: Any, **kwargs: Any) -> Invoke:
        """Start a function that nobody waits for and that outlives this one."""
        return self._invoke(Mode.DETACHED, func, args, kwargs)

    rpc = rfc
    begin_rpc = rfi
    run = lfc
    begin_run = lfi

    def gather(self, *things: Command | Promised, return_exceptions: bool = False) -> Gather:
        """Start all of these and wait for all of them: the list of their values, in order.

        The first failure, in the order given, is raised once everything has settled; with
        `return_exceptions` failures stand in the list instead.
        """
        self._check_awaitable("gather", things)
        return Gather(things, return_exceptions)

    def sleep(self, duration: Seconds) -> Sleep:
        """Wait for a duration in seconds, across restarts of everything."""
        return self._numbered(Sleep(self._next_id(), seconds_of(duration)))

    def race(self, *things: Command | Promised) -> Race:
        """Start all of these and wait for the first: its number and its value, a `Winner`.

        The others are canceled. A first one that failed has its error raised.
        """
        if not things:
            raise UsageError(f"{self.id!r}: ctx.race was given nothing that could come first")
        self._check_awaitable("race", things)
        return Race(things)

    def timeout(self, duration: Seconds) -> Timeout:
        """A limit in seconds on what a `with` block awaits, or on a race; durable, as a sleep is.

        When it has passed, TimeoutError is raised where the block waits, and what that waited
        for is canceled. The workflow's own deadline comes first if it is earlier.
        """
        limited = self._current()
        return self._numbered(Timeout(limited.next_id(), seconds_of(duration), limited))

    def promise(
        self,
        *,
        id: str | None = None,  # noqa: A002
        timeout: Seconds | None = None,
        tags: Mapping[str, str] | None = None,
        data: Any = None,
    ) -> External:
        """A promise for somebody else to settle, under the id given or that of the answer."""
        promise = self._numbered(External(self._next_id(), timeout, tags or {}, data))
        return promise.options(id=id)

    def get(self, promise_id: str) -> Other:
        """Wait for a promise of another tree, whoever created it."""
        check_id(promise_id)
        other = self._numbered(Other(self._next_id()))
        other.mirrored = promise_id
        return other

    def compensate(
        self, func: str | Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Compensation:
        """Have a function called if the body fails after this: the last one given comes first.

        It runs in this process, or at `.options(target=…)`, as a recorded step; the body's own
        error is raised after all of them.
        """
        made = Compensation(self._next_id(), Mode.LFC, func, args, kwargs)
        self._compensations.append(made)
        return made

    @property
    def random(self) -> RecordedRandom:
        """Random numbers that are drawn once: `yield ctx.random.randint(1, 6)`."""
        return RecordedRandom(self.lfc)

    @property
    def time(self) -> RecordedTime:
        """The time, read once: `yield ctx.time.time()`."""
        return RecordedTime(self.lfc)

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose records carry the promise's id; silent while the body is replayed."""
        return _Logger(self)

    def get_dependency(self, name: str, default: Any = None) -> Any:
        """An object this process was given by `set_dependency`; never recorded."""
        return self._dependencies.get(name, default)

    def unissued(self) -> list[Command]:
        """The commands that were built and not yielded, in the order of the code."""
        return [
            command
            for command in self._built
            if not (command.issued or isinstance(command, Timeout))
        ]

    def compensations(self) -> list[Compensation]:
        """What is to be undone, the last first; empty from then on."""
        made, self._compensations = self._compensations, []
        return made[::-1]

    def _invoke(
        self,
        mode: Mode,
        func: str | Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Invoke:
        return self._numbered(Invoke(self._next_id(), mode, func, args, kwargs))

    def _check_awaitable(self, what: str, things: tuple[object, ...]) -> None:
        instead = {"gather": "asyncio.gather", "race": "asyncio.wait"}[what]
        for thing in things:
            if not isinstance(thing, Command | Promised):
                raise NotDurable(
                    f"{self.id!r}: ctx.{what} was given an object of type {type(thing).__name__}; "
                    f"give it commands and what yielding one answered, and to {instead} "
                    "coroutines"
                )

    def _current(self) -> Numbers:
        """The number space that counts now: of an asyncio branch of this body, or of the body."""
        current = CURRENT.get()
        ours = current is not None and current.body is self.numbers
        return current if ours and current is not None else self.numbers

    def _next_id(self) -> str:
        return self._current().next_id()

    def _numbered(self, command: C) -> C:
        self._built.append(command)
        return command


class _Logger(logging.LoggerAdapter[logging.Logger]):
    def __init__(self, context: Context) -> None:
        super().__init__(log, {"promise_id": context.id})
        self._context = context

    def isEnabledFor(self, level: int) -> bool:
        return self._context.ahead == 0 and super().isEnabledFor(level)
