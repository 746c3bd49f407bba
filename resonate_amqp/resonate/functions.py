"""What `register` gives back: the function itself, still callable, that can also be called
durably."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

if TYPE_CHECKING:
    from resonate_amqp.runtime.handle import Handle

P = ParamSpec("P")
R = TypeVar("R")

Invoker = Callable[..., "Handle[Any]"]


class Function(Generic[P, R]):
    """A registered function; calling it runs the plain Python function."""

    durable_function: Callable[P, R]

    def __init__(self, func: Callable[P, R], run: Invoker, rpc: Invoker, name: str) -> None:
        functools.update_wrapper(self, func)
        self.durable_function = func
        self.name = name
        self._run = run
        self._rpc = rpc

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.durable_function(*args, **kwargs)

    def run(self, promise_id: str, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Start it in this process, under an id."""
        return self._run(promise_id, self, *args, **kwargs)

    def rpc(self, promise_id: str, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Start it wherever the group's workers are, under an id."""
        return self._rpc(promise_id, self, *args, **kwargs)

    begin_run = run
    begin_rpc = rpc

    def __repr__(self) -> str:
        return f"<durable function {self.name!r}>"
