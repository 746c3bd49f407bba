"""Registry: which function a name and a version stand for in this process."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from resonate_amqp.errors import UnknownFunction, UsageError
from resonate_amqp.runtime.retry import Never, RetryPolicy

LATEST = 0


@dataclass(frozen=True, slots=True)
class Registered:
    """A durable function: `workflow` when its body is a generator, else a leaf."""

    name: str
    version: int
    func: Callable[..., Any]
    retry: RetryPolicy
    workflow: bool
    is_async: bool
    signature: inspect.Signature | None

    def check(self, args: list[Any], kwargs: dict[str, Any]) -> None:
        """Raise TypeError, naming the function, when it cannot take these arguments."""
        if self.signature is None:
            return
        try:
            self.signature.bind(None, *args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}{self.signature}: {error}") from None


class Registry:
    """Functions by name and version; not thread-safe while it is being filled."""

    def __init__(self) -> None:
        self._functions: dict[str, dict[int, Registered]] = {}

    def register(
        self,
        func: Callable[..., Any],
        *,
        name: str | None = None,
        version: int = 1,
        retry: RetryPolicy | None = None,
    ) -> Registered:
        """Add a function; raises UsageError for a name or version that cannot be used."""
        if not callable(func):
            raise UsageError(f"{func!r} is not callable; register a function")
        name = name or getattr(func, "__name__", "")
        if not name or name == "<lambda>":
            raise UsageError("a lambda has no name; write register(func, name=…)")
        if version < 1:
            raise UsageError(f"function {name!r}: version {version} must be 1 or greater")
        if version in self._functions.get(name, {}):
            raise UsageError(f"function {name!r} version {version} is registered already")
        registered = described(func, name, version, retry)
        self._functions.setdefault(name, {})[version] = registered
        return registered

    def find(self, name: str, version: int = LATEST) -> Registered | None:
        versions = self._functions.get(name, {})
        if version == LATEST:
            return versions[max(versions)] if versions else None
        return versions.get(version)

    def of(self, func: Callable[..., Any]) -> Registered | None:
        """The registration of a function object, the latest if there are several."""
        raw = getattr(func, "durable_function", func)
        found = [
            one
            for versions in self._functions.values()
            for one in versions.values()
            if one.func is raw or one.func is func
        ]
        return max(found, key=lambda one: one.version, default=None)

    def names(self) -> list[str]:
        return sorted(self._functions)

    def __len__(self) -> int:
        return len(self._functions)


def described(
    func: Callable[..., Any], name: str, version: int = 1, retry: RetryPolicy | None = None
) -> Registered:
    """The function as the runtime sees it, registered or not."""
    if inspect.isasyncgenfunction(func):
        raise UsageError(f"function {name!r} is an async generator; a workflow is a plain one")
    return Registered(
        name=name,
        version=version,
        func=func,
        retry=retry or Never(),
        workflow=inspect.isgeneratorfunction(func),
        is_async=inspect.iscoroutinefunction(func),
        signature=_signature(func),
    )


def _signature(func: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(func)
    except (TypeError, ValueError):
        return None


def unknown(name: str, known: list[str]) -> UnknownFunction:
    """The error for a name that is registered nowhere the caller can see."""
    listed = ", ".join(known) or "none"
    return UnknownFunction(
        f"function {name!r} is not registered here (registered: {listed}); "
        "give the call a target: options(target='poll://any@GROUP')"
    )
