"""Commands: what a workflow's body may yield, or await if it is an `async def`.

A command gets its promise's id when it is built, so that ids depend on the order of the code
alone. It takes effect when it is yielded or awaited, or when the body returns without having done
either.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, Self

from resonate_amqp.errors import UsageError
from resonate_amqp.runtime.retry import RetryPolicy
from resonate_amqp.wire.address import check_root_id

Seconds = float | timedelta


class Mode(StrEnum):
    """How a function is called: remote or local, waited for or not, or detached."""

    RFC = "rfc"
    RFI = "rfi"
    LFC = "lfc"
    LFI = "lfi"
    DETACHED = "detached"

    @property
    def local(self) -> bool:
        return self in (Mode.LFC, Mode.LFI)

    @property
    def waits(self) -> bool:
        return self in (Mode.RFC, Mode.LFC)


class Limited(Protocol):
    """What a time limit holds for: a generator, or one branch of an `async def` body."""

    def enter(self, limit: Timeout) -> None:
        """A block begins. Raises NotDurable where nothing durable is awaited."""
        ...

    def leave(self, limit: Timeout, error: BaseException | None) -> bool:
        """The block ends, perhaps with an error; answers whether that is the limit's own doing."""
        ...


@dataclass(slots=True, eq=False)
class Command:
    """Base of every command; `issued` once the driver has seen it.

    `mirrored` is the id of the promise of another tree that it stands for, if it does.
    """

    id: str
    issued: bool = field(default=False, init=False)
    mirrored: str = field(default="", init=False)

    def __await__(self) -> Generator[Any, Any, Any]:
        return _handed(self)

    def named(self, own_id: str | None) -> None:
        """Ask for an id of its own; raises InvalidId for one that cannot be."""
        if own_id is not None and own_id != self.id:
            self.mirrored = check_root_id(own_id)


@dataclass(slots=True, eq=False)
class Invoke(Command):
    """Call a function: `yield` gives its value (rfc, lfc) or a Promised (rfi, lfi, detached)."""

    mode: Mode
    func: str | Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    target: str | None = None
    timeout: Seconds | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    version: int = 0
    retry_policy: RetryPolicy | None = None
    delay: Seconds | None = None
    returns: Any = None

    def options(
        self,
        *,
        id: str | None = None,  # noqa: A002
        target: str | None = None,
        timeout: Seconds | None = None,
        tags: Mapping[str, str] | None = None,
        version: int | None = None,
        retry_policy: RetryPolicy | None = None,
        delay: Seconds | None = None,
        returns: Any = None,
    ) -> Self:
        """Set options of this one call; answers the command itself.

        `id` gives the call an id of its own: whoever uses it again gets the same execution.
        `timeout` is in seconds, `target` an address, `version` 0 for the latest; `delay` is how
        many seconds from now the function starts at the earliest; `returns` is the type of the
        result where no annotation known here tells it. Raises UsageError for an option this
        kind of call does not take.
        """
        if self.mode.local:
            if target is not None or delay is not None:
                unfit = "target" if target is not None else "delay"
                raise UsageError(
                    f"{self.mode} {self.name!r} runs in this process; it takes no {unfit}"
                )
        elif retry_policy is not None:
            raise UsageError(
                f"{self.mode} {self.name!r}: the retry policy belongs to the registration of "
                "the remote function"
            )
        if version is not None and version < 0:
            raise UsageError(f"{self.mode} {self.name!r}: version {version} is negative")
        _check_kinds(target=target, timeout=timeout, tags=tags, delay=delay)
        self.named(id)
        self.target = self.target if target is None else target
        self.timeout = self.timeout if timeout is None else timeout
        self.tags = self.tags if tags is None else tags
        self.version = self.version if version is None else version
        self.retry_policy = self.retry_policy if retry_policy is None else retry_policy
        self.delay = self.delay if delay is None else delay
        self.returns = self.returns if returns is None else returns
        return self

    @property
    def name(self) -> str:
        if isinstance(self.func, str):
            return self.func
        return getattr(self.func, "__name__", repr(self.func))

    @property
    def local(self) -> bool:
        """Whether it runs inside the task that issues it; not with an id of another tree."""
        return self.mode.local and not self.mirrored


@dataclass(slots=True, eq=False)
class Compensation(Invoke):
    """A call that is made only if the body fails; with a target it is a remote one."""

    def options(self, *, target: str | None = None, **options: Any) -> Self:
        """Set options of this one call, as those of `ctx.rfc` or `ctx.lfc`."""
        if target is not None:
            self.mode = Mode.RFC
        return Invoke.options(self, target=target, **options)


@dataclass(slots=True, eq=False)
class Sleep(Command):
    """Wait, durably: no process needs to live meanwhile."""

    seconds: float


@dataclass(slots=True, eq=False)
class Timeout(Sleep):
    """A limit of so many seconds on what a `with` block awaits; awaited, it only ever fails.

    Entered, it counts from its block's first durable call: the await that it cuts short raises
    TimeoutError, and what that waited for is canceled. As one of `ctx.race` it raises the same.
    """

    limited: Limited

    def __enter__(self) -> Self:
        self.limited.enter(self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self.limited.leave(self, error):
            raise self.expired() from error

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.__exit__(kind, error, trace)

    def expired(self) -> TimeoutError:
        """What is raised where the limit cuts something short."""
        return TimeoutError(f"{self.id!r}: the limit of {self.seconds:g} s has passed")


@dataclass(slots=True, eq=False)
class External(Command):
    """A promise that somebody else settles; `yield` gives a Promised."""

    timeout: Seconds | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    data: Any = None

    def options(
        self,
        *,
        id: str | None = None,  # noqa: A002
        timeout: Seconds | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Self:
        """Set its own id, its deadline (seconds from now) or tags; answers the command itself."""
        _check_kinds(timeout=timeout, tags=tags)
        self.named(id)
        self.timeout = self.timeout if timeout is None else timeout
        self.tags = self.tags if tags is None else tags
        return self


@dataclass(slots=True, eq=False)
class Other(Command):
    """Wait for a promise of another tree; `yield` gives its value."""


@dataclass(frozen=True, slots=True)
class Promised:
    """A promise under way: `yield` it, any number of times, for its value.

    `id` is what others know it by, `place` its number in this tree.
    """

    id: str
    place: str

    def __await__(self) -> Generator[Any, Any, Any]:
        return _handed(self)


@dataclass(frozen=True, slots=True, eq=False)
class Gather:
    """Wait for several at once; `yield` gives the list of their values, in order."""

    things: tuple[Command | Promised, ...]
    return_exceptions: bool

    def __await__(self) -> Generator[Any, Any, Any]:
        return _handed(self)


@dataclass(frozen=True, slots=True, eq=False)
class Race:
    """Wait for the first of several; `yield` gives its Winner, and the others are canceled."""

    things: tuple[Command | Promised, ...]

    def __await__(self) -> Generator[Any, Any, Any]:
        return _handed(self)


class Winner(NamedTuple):
    """Which of a race ended first, counted from 0, and the value it came to."""

    position: int
    value: Any


def _handed(thing: object) -> Generator[Any, Any, Any]:
    """Hand a command to whoever drives the coroutine; answers what it came to.

    It is handed over whatever happens: a body that is destroyed must not go round in its own
    `except` for ever.
    """
    return (yield thing)


_KINDS: dict[str, type | tuple[type, ...]] = {
    "target": str,
    "timeout": (int, float, timedelta),
    "delay": (int, float, timedelta),
    "tags": Mapping,
}


def _check_kinds(**options: object) -> None:
    """Raise UsageError, where it was written, for an option of a type that cannot be meant."""
    for name, value in options.items():
        if value is not None and not isinstance(value, _KINDS[name]):
            raise UsageError(f"option {name}={value!r} is of type {type(value).__name__}")


def seconds_of(duration: Seconds) -> float:
    """A duration as float seconds; raises UsageError for a negative one."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
    if not 0 <= seconds < 10**11:
        raise UsageError(f"{seconds} seconds is not a duration that can be waited for")
    return seconds
