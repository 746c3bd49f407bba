"""Handle: an execution as its caller sees it from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import Future
from threading import TIMEOUT_MAX
from typing import Any, Generic, TypeVar, cast

from resonate_amqp.core.model import Promise
from resonate_amqp.errors import TimedOut
from resonate_amqp.wire.codec import result_of

T = TypeVar("T")

LATE_S = 60.0


class Handle(Generic[T]):
    """The running or finished execution behind an id: blocking, awaitable, or asked.

    A result raises what the execution was rejected with: the exception's own type when that is
    a builtin, else RemoteError, Canceled or TimedOut.
    """

    def __init__(
        self,
        promise_id: str,
        settled: Future[Promise],
        left_ms: int,
        may_block: Callable[[], None] = lambda: None,
    ) -> None:
        self.id = promise_id
        self._settled = settled
        self._left_ms = left_ms
        self._may_block = may_block

    def done(self) -> bool:
        """Whether the outcome is known here; never blocks."""
        return self._settled.done()

    def result(self, timeout: float | None = None) -> T:
        """Wait for the outcome, at most `timeout` seconds; else until the promise's deadline.

        Raises TimeoutError after `timeout`; the execution goes on and may be waited for again.
        """
        if not self._settled.done():
            self._may_block()
        if timeout is not None:
            try:
                settled = self._settled.result(timeout)
            except TimeoutError:
                raise TimeoutError(
                    f"promise {self.id!r} was not settled within {timeout:g} s; it goes on, and "
                    "may be waited for again"
                ) from None
            return cast(T, result_of(settled))
        try:
            promise = self._settled.result(min(self._left_ms / 1000 + LATE_S, TIMEOUT_MAX))
        except TimeoutError:
            raise TimedOut(f"promise {self.id!r} was not settled before its deadline") from None
        return cast(T, result_of(promise))

    def __await__(self) -> Generator[Any, None, T]:
        promise = yield from asyncio.wrap_future(self._settled).__await__()
        return cast(T, result_of(promise))

    def __repr__(self) -> str:
        return f"<Handle {self.id!r} {'done' if self.done() else 'pending'}>"
