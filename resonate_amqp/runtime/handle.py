"""Handle: an execution as its caller sees it from outside."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Generator
from concurrent.futures import Future
from threading import TIMEOUT_MAX
from typing import Any, Generic, TypeVar, cast

from resonate_amqp.core.model import Promise
from resonate_amqp.errors import TimedOut, UsageError
from resonate_amqp.wire.codec import result_of

T = TypeVar("T")

LATE_S = 60.0
PATIENCE_S = 5.0
"""How long a caller waits before somebody looks why."""
LOOKED_S = 1.0
"""A timeout below this is that of a caller who asks again and again."""

log = logging.getLogger(__name__)

MayBlock = Callable[[Future[Promise], float | None], None]
"""Told what is waited for and for how long; raises where nobody may, or need, wait."""
Look = Callable[[], str]
"""Why an execution does not go on, and what lets it: empty as far as it does."""


class Handle(Generic[T]):
    """The running or finished execution behind an id: blocking, awaitable, or asked.

    A result raises what the execution was rejected with: the exception's own type when that is
    a builtin or registered with `register_error`, else RemoteError, Canceled or TimedOut.
    """

    def __init__(
        self,
        promise_id: str,
        settled: Future[Promise],
        left_ms: int,
        may_block: MayBlock = lambda _settled, _timeout: None,
        read: Callable[[Promise], Any] = result_of,
        look: Look = str,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.id = promise_id
        self._settled = settled
        self._left_ms = left_ms
        self._may_block = may_block
        self._read = read
        self._look = look
        self._patience_s = patience_s
        self._process = os.getpid()

    def done(self) -> bool:
        """Whether the outcome is known here; never blocks."""
        self._check_process()
        return self._settled.done()

    def result(self, timeout: float | None = None) -> T:
        """Wait for the outcome, at most `timeout` seconds; else until the promise's deadline.

        Raises TimeoutError after `timeout`; it says whether the execution goes on, and may be
        waited for again, or is halted. Without a timeout that is logged, once, after five seconds.
        """
        self._check_process()
        left_s = min(self._left_ms / 1000 + LATE_S, TIMEOUT_MAX)
        try:
            if not self._settled.done():
                self._may_block(self._settled, timeout)
            promise = self._patiently(left_s) if timeout is None else self._settled.result(timeout)
        except TimeoutError:
            if timeout is None:
                raise TimedOut(f"promise {self.id!r} was not settled before its deadline") from None
            why_not = self._look() if timeout >= LOOKED_S else ""
            goes_on = "it goes on, and may be waited for again"
            raise TimeoutError(
                f"promise {self.id!r} was not settled within {timeout:g} s; {why_not or goes_on}"
            ) from None
        return cast(T, self._read(promise))

    def _patiently(self, left_s: float) -> Promise:
        """Wait, and say once why nothing comes if the execution is halted."""
        first_s = min(self._patience_s, left_s)
        try:
            return self._settled.result(first_s)
        except TimeoutError:
            if halted := self._look():
                log.warning("%s: %s", self.id, halted)
        return self._settled.result(left_s - first_s)

    def __await__(self) -> Generator[Any, None, T]:
        self._check_process()
        promise = yield from asyncio.wrap_future(self._settled).__await__()
        return cast(T, self._read(promise))

    def __repr__(self) -> str:
        if self._process != os.getpid():
            return f"<Handle {self.id!r} of process {self._process}>"
        return f"<Handle {self.id!r} {'done' if self.done() else 'pending'}>"

    def _check_process(self) -> None:
        """After a fork nobody here would tell of the outcome, and a lock may be held for ever."""
        if self._process != os.getpid():
            raise UsageError(
                f"the handle of {self.id!r} was made by process {self._process}, before this one "
                f"was forked; ask again here: resonate.get({self.id!r})"
            )
