"""Commands: what a workflow's body may yield.

A command gets its promise's id when it is built, so that ids depend on the order of the code
alone. It takes effect when it is yielded, or when the body returns without having yielded it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, NoReturn, Self

from resonate_amqp.errors import NotDurable, UsageError
from resonate_amqp.runtime.retry import RetryPolicy

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


@dataclass(slots=True, eq=False)
class Command:
    """Base of every command; `issued` once the driver has seen it."""

    id: str
    issued: bool = field(default=False, init=False)

    def __await__(self) -> NoReturn:
        raise NotDurable(
            f"command {self.id!r} was awaited in an async function; a durable workflow is a "
            "generator function that yields its commands"
        )


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

    def options(
        self,
        *,
        target: str | None = None,
        timeout: Seconds | None = None,
        tags: Mapping[str, str] | None = None,
        version: int | None = None,
        retry_policy: RetryPolicy | None = None,
    ) -> Self:
        """Set options of this one call; answers the command itself.

        `timeout` is in seconds, `target` an address, `version` 0 for the latest. Raises
        UsageError for an option this kind of call does not take.
        """
        if self.mode.local and target is not None:
            raise UsageError(f"{self.mode} {self.name!r} runs in this process; it takes no target")
        if not self.mode.local and retry_policy is not None:
            raise UsageError(
                f"{self.mode} {self.name!r}: the retry policy belongs to the registration of "
                "the remote function"
            )
        if version is not None and version < 0:
            raise UsageError(f"{self.mode} {self.name!r}: version {version} is negative")
        _check_kinds(target=target, timeout=timeout, tags=tags)
        self.target = self.target if target is None else target
        self.timeout = self.timeout if timeout is None else timeout
        self.tags = self.tags if tags is None else tags
        self.version = self.version if version is None else version
        self.retry_policy = self.retry_policy if retry_policy is None else retry_policy
        return self

    @property
    def name(self) -> str:
        if isinstance(self.func, str):
            return self.func
        return getattr(self.func, "__name__", repr(self.func))


@dataclass(slots=True, eq=False)
class Sleep(Command):
    """Wait, durably: no process needs to live meanwhile."""

    seconds: float


@dataclass(slots=True, eq=False)
class External(Command):
    """A promise that somebody else settles; `yield` gives a Promised."""

    timeout: Seconds | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    data: Any = None

    def options(
        self, *, timeout: Seconds | None = None, tags: Mapping[str, str] | None = None
    ) -> Self:
        """Set the deadline (seconds from now) or tags; answers the command itself."""
        _check_kinds(timeout=timeout, tags=tags)
        self.timeout = self.timeout if timeout is None else timeout
        self.tags = self.tags if tags is None else tags
        return self


@dataclass(frozen=True, slots=True)
class Promised:
    """A promise under way: `yield` it, any number of times, for its value."""

    id: str


def _check_kinds(*, target: object = None, timeout: object = None, tags: object = None) -> None:
    """Raise UsageError, where it was written, for an option of a type that cannot be meant."""
    for name, value, kinds in (
        ("target", target, str),
        ("timeout", timeout, (int, float, timedelta)),
        ("tags", tags, Mapping),
    ):
        if value is not None and not isinstance(value, kinds):
            raise UsageError(f"option {name}={value!r} is of type {type(value).__name__}")


def seconds_of(duration: Seconds) -> float:
    """A duration as float seconds; raises UsageError for a negative one."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
    if not 0 <= seconds < 10**11:
        raise UsageError(f"{seconds} seconds is not a duration that can be waited for")
    return seconds
