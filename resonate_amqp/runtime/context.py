"""Context: what a durable function is given as its first argument."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from resonate_amqp.core.model import child_id
from resonate_amqp.runtime.commands import (
    Command,
    External,
    Invoke,
    Mode,
    Seconds,
    Sleep,
    seconds_of,
)

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
        self._dependencies = dependencies
        self._number = 0
        self._built: list[Command] = []

    def rfc(self, func: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Invoke:
        """Call a function wherever its target is, and wait for its value."""
        return self._invoke(Mode.RFC, func, args, kwargs)

    def rfi(self, func: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Invoke:
        """Start a function wherever its target is; `yield` the answer later for its value."""
        return self._invoke(Mode.RFI, func, args, kwargs)

    def lfc(self, func: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Invoke:
        """Call a function in this process as a recorded step."""
        return self._invoke(Mode.LFC, func, args, kwargs)

    def lfi(self, func: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Invoke:
        """Start a function in this process as a recorded step."""
        return self._invoke(Mode.LFI, func, args, kwargs)

    def detached(self, func: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Invoke:
        """Start a function that nobody waits for and that outlives this one."""
        return self._invoke(Mode.DETACHED, func, args, kwargs)

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose records carry the promise's id."""
        return logging.LoggerAdapter(log, {"promise_id": self.id})

    rpc = rfc
    begin_rpc = rfi
    run = lfc
    begin_run = lfi

    def sleep(self, duration: Seconds) -> Sleep:
        """Wait for a duration in seconds, across restarts of everything."""
        return self._numbered(Sleep(self._next_id(), seconds_of(duration)))

    def promise(
        self,
        *,
        timeout: Seconds | None = None,
        tags: Mapping[str, str] | None = None,
        data: Any = None,
    ) -> External:
        """A promise for somebody else to settle, under the id of the answer."""
        return self._numbered(External(self._next_id(), timeout, tags or {}, data))

    def get_dependency(self, name: str, default: Any = None) -> Any:
        """An object this process was given by `set_dependency`; never recorded."""
        return self._dependencies.get(name, default)

    def unissued(self) -> list[Command]:
        """The commands that were built and not yielded, in the order of the code."""
        return [command for command in self._built if not command.issued]

    def _invoke(
        self,
        mode: Mode,
        func: str | Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Invoke:
        return self._numbered(Invoke(self._next_id(), mode, func, args, kwargs))

    def _next_id(self) -> str:
        self._number += 1
        return child_id(self.id, self._number)

    def _numbered(self, command: C) -> C:
        self._built.append(command)
        return command
