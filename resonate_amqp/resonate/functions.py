"""What `register` gives back: the function itself, still callable, that can also be called
durably."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from resonate_amqp.runtime.handle import Handle

P = ParamSpec("P")
R = TypeVar("R")


class Caller(Protocol):
    """What a function is called durably through."""

    def run(self, promise_id: str, func: Any, /, *args: Any, **kwargs: Any) -> Handle[Any]: ...

    def rpc(self, promise_id: str, func: Any, /, *args: Any, **kwargs: Any) -> Handle[Any]: ...

    async def arun(
        self, promise_id: str, func: Any, /, *args: Any, **kwargs: Any
    ) -> Handle[Any]: ...

    async def arpc(
        self, promise_id: str, func: Any, /, *args: Any, **kwargs: Any
    ) -> Handle[Any]: ...


class Function(Generic[P, R]):
    """A registered function; calling it runs the plain Python function."""

    durable_function: Callable[P, R]

    def __init__(self, func: Callable[P, R], resonate: Caller, name: str) -> None:
        functools.update_wrapper(self, func)
        self.durable_function = func
        self.name = name
        self._resonate = resonate

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.durable_function(*args, **kwargs)

    def run(self, promise_id: str, /, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Start it in this process, under an id."""
        return self._resonate.run(promise_id, self, *args, **kwargs)

    def rpc(self, promise_id: str, /, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Start it wherever the group's workers are, under an id."""
        return self._resonate.rpc(promise_id, self, *args, **kwargs)

    async def arun(self, promise_id: str, /, *args: Any, **kwargs: Any) -> Handle[Any]:
        """As `run`, for a running event loop."""
        return await self._resonate.arun(promise_id, self, *args, **kwargs)

    async def arpc(self, promise_id: str, /, *args: Any, **kwargs: Any) -> Handle[Any]:
        """As `rpc`, for a running event loop."""
        return await self._resonate.arpc(promise_id, self, *args, **kwargs)

    begin_run = run
    begin_rpc = rpc

    def __repr__(self) -> str:
        return f"<durable function {self.name!r}>"
