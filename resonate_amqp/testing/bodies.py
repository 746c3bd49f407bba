"""Running `async def` bodies by hand: each turn of one is over when it is asked for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, cast

from resonate_amqp.core.model import Promise
from resonate_amqp.runtime.alarms import Alarm
from resonate_amqp.runtime.branches import hosting
from resonate_amqp.runtime.context import Context
from resonate_amqp.runtime.leaves import LeafDone, Leaves, Turned
from resonate_amqp.runtime.session import Session
from resonate_amqp.runtime.wants import Leaf


class Bodies:
    """Satisfies the port `Executor`, and what `Leaves` needs of a session."""

    def __init__(self, dependencies: Mapping[str, Any]) -> None:
        self._told: deque[Callable[[], None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.leaves = Leaves(cast(Session, self), self, dependencies)

    def context(self, promise_id: str, info: Any) -> Context:
        """The context of a body."""
        return self.leaves.context(promise_id, info)

    def run(self, leaf: Leaf, promise: Promise, done: LeafDone, turned: Turned) -> None:
        """Run a body up to its first durable call, or to its end."""
        self.leaves.run(leaf, promise, done, turned)

    def heed(self) -> bool:
        """Pass on what bodies came to; answers whether there was anything."""
        heard = bool(self._told)
        while self._told:
            self._told.popleft()()
        return heard

    def post(self, action: Callable[[], None]) -> None:
        self._told.append(action)

    def later(self, _delay_ms: int, _action: Callable[[], None], *, routine: bool = False) -> Alarm:
        return Alarm.none()

    def now(self) -> int:
        return 0

    def may_wait(self, settled: Future[Any]) -> bool:
        return True

    def submit(
        self,
        work: Callable[[], Any],
        done: Callable[[Any, BaseException | None], None],
        *,
        is_async: bool,
    ) -> None:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            hosting(self._loop)
        try:
            value = self._loop.run_until_complete(work())
        except Exception as error:  # the outcome of the user's function
            done(None, error)
        else:
            done(value, None)

    def close(self) -> None:
        """Cancel what is unfinished."""
        if self._loop is not None:
            self._loop.run_until_complete(_unwound())
            self._loop.close()


async def _unwound() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
