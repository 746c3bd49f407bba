"""Registry: which function a name and a version stand for in this process."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from resonate_amqp.core.model import Value
from resonate_amqp.errors import Encoding, UnknownFunction, UsageError
from resonate_amqp.runtime.annotations import types_of
from resonate_amqp.runtime.retry import Never, RetryPolicy
from resonate_amqp.wire.failures import type_name
from resonate_amqp.wire.typed import Shape, Types

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
    types: Types

    def arguments(
        self, args: list[Any], kwargs: dict[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Recorded arguments, rebuilt by the function's annotations.

        Raises TypeError, naming the function, when it cannot take them, and the argument that
        does not fit.
        """
        try:
            if self.signature is not None:
                self.signature.bind(None, *args, **kwargs)
            return self.types.rebuild(args, kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}{self.signature}: {error}") from None
        except Encoding as error:
            raise TypeError(f"{self.name}{self.signature}: argument {error}") from None


class Registry:
    """Functions by name and version, and error types by name.

    Not thread-safe while it is being filled.
    """

    def __init__(self) -> None:
        self._functions: dict[str, dict[int, Registered]] = {}
        self._objects: dict[tuple[int, ...], Registered] = {}
        self._errors: dict[str, type[Exception]] = {}
        self._seen = functools.lru_cache(maxsize=256)(described)

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
        if retry is not None:
            check_retried(name, registered.workflow)
        self._functions.setdefault(name, {})[version] = registered
        key = _identity(func)
        known = self._objects.setdefault(key, registered)
        if known.version < version:
            self._objects[key] = registered
        return registered

    def register_error(self, kind: Any, name: str | None = None) -> None:
        """Have errors recorded under a type's name raised as that type.

        Raises UsageError for what is no exception type, and when the name is another type's.
        """
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise UsageError(f"{kind!r} is not a subclass of Exception; it cannot be registered")
        name = name or type_name(kind)
        if self._errors.setdefault(name, kind) is not kind:
            raise UsageError(
                f"errors named {name!r} are registered already, as {type_name(self._errors[name])}"
            )

    @property
    def errors(self) -> Mapping[str, type[Exception]]:
        """The registered error types, by the names they are recorded under."""
        return self._errors

    def find(self, name: str, version: int = LATEST) -> Registered | None:
        versions = self._functions.get(name, {})
        if version == LATEST:
            return versions[max(versions)] if versions else None
        return versions.get(version)

    def several(self, name: str) -> bool:
        """Whether a name stands for more than one version."""
        return len(self._functions.get(name, ())) > 1

    def of(self, func: Callable[..., Any]) -> Registered | None:
        """The registration of this very function object, the latest if there are several.

        A bound method is its function and its instance. What wraps a registered function is
        another function.
        """
        return self._objects.get(_identity(registered_object(func)))

    def check_elsewhere(self, func: Callable[..., Any], name: str, group: str, own: str) -> None:
        """Raise UsageError for an object that is not registered and names no other group's.

        `group` is where the call goes, `own` the caller's. By its name alone such an object would
        stand for whatever else was registered under it.
        """
        if self.of(func) is not None or group != own:
            return
        other = self.find(name)
        if other is None:
            raise unknown(name, self.names())
        raise UsageError(
            f"{func!r} is not registered here, and {name!r} is {other.func!r}: register it under a "
            "name of its own, register(function, name=…); or, if the other is meant, call it by "
            "its name"
        )

    def described(self, func: Callable[..., Any], name: str) -> Registered:
        """A function that is called by its object and is registered nowhere."""
        # What a closure holds must not outlive it.
        if getattr(func, "__closure__", None):
            return described(func, name)
        try:
            return self._seen(func, name)
        except TypeError:  # an object that can be called, and has no hash
            return described(func, name)

    def returns(self, param: Value) -> Shape | None:
        """What the function of a call's param returns, as far as it is registered here."""
        name, version = param.headers.get("func"), param.headers.get("version", "")
        if name not in self._functions or not version.isdecimal():
            return None
        found = self.find(name, int(version))
        return found.types.returns if found else None

    def listing(self) -> str:
        """Every function with its versions, for a log: `charge 1, 2; refund 1`."""
        listed = [
            f"{name} {', '.join(map(str, sorted(versions)))}"
            for name, versions in sorted(self._functions.items())
        ]
        return "; ".join(listed) or "no function is registered"

    def names(self) -> list[str]:
        return sorted(self._functions)

    def __len__(self) -> int:
        return len(self._functions)


def registered_object(func: Any) -> Any:
    """What `register` was given, from what it gave back; any other object is itself."""
    # functools.wraps copies attributes: a function that has this one only wraps the registered.
    return func if inspect.isfunction(func) else getattr(func, "durable_function", func)


def _identity(func: Any) -> tuple[int, ...]:
    """What makes two function objects the same one."""
    if inspect.ismethod(func):
        return id(func.__func__), id(func.__self__)
    return (id(func),)


def described(
    func: Callable[..., Any], name: str, version: int = 1, retry: RetryPolicy | None = None
) -> Registered:
    """The function as the runtime sees it, registered or not."""
    if inspect.isasyncgenfunction(func):
        raise UsageError(f"function {name!r} is an async generator; a workflow is a plain one")
    signature = _signature(func)
    return Registered(
        name=name,
        version=version,
        func=func,
        retry=retry or Never(),
        workflow=inspect.isgeneratorfunction(func),
        is_async=inspect.iscoroutinefunction(func),
        signature=signature,
        types=types_of(func, signature),
    )


def _signature(func: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(func)
    except (TypeError, ValueError):
        return None


def check_retried(name: str, workflow: bool) -> None:
    """Raise UsageError for a retry policy of a generator function, whose steps have their own."""
    if workflow:
        raise UsageError(
            f"function {name!r} is a generator: its steps are tried again, each by its own policy, "
            "and it is not; give the retry policy to the functions that it calls"
        )


def unknown(name: str, known: list[str], version: int = LATEST) -> UnknownFunction:
    """The error for a name that is registered nowhere the caller can see."""
    listed = ", ".join(known) or "none"
    at = f" at version {version}" if version else ""
    return UnknownFunction(
        f"function {name!r} is not registered here{at} (registered: {listed}); "
        "give the call a target: options(target='poll://any@GROUP')"
    )
