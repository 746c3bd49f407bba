"""Leaves: functions without durable calls, run off the loop, with their retry policy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from resonate_amqp.core.model import Promise
from resonate_amqp.errors import UsageError
from resonate_amqp.ports import Executor
from resonate_amqp.runtime.context import Context, Info
from resonate_amqp.runtime.replay import Leaf
from resonate_amqp.runtime.retry import retries_after
from resonate_amqp.runtime.session import Session

log = logging.getLogger(__name__)

LeafDone = Callable[[Any, BaseException | None, Context], None]


@dataclass(slots=True, eq=False)
class Attempts:
    """One leaf on its way; `abandon` makes whatever comes of it unheard."""

    done: LeafDone | None

    def abandon(self) -> None:
        self.done = None


class Leaves:
    """Runs leaves on an executor; their ends come back to the loop."""

    def __init__(
        self, session: Session, executor: Executor, dependencies: Mapping[str, Any]
    ) -> None:
        self._session = session
        self._executor = executor
        self._dependencies = dependencies

    def context(self, promise_id: str, info: Info) -> Context:
        """The context of a body of this process."""
        return Context(promise_id, info, self._dependencies)

    def run(self, leaf: Leaf, promise: Promise, done: LeafDone) -> Attempts:
        """Run a leaf until it succeeds or its policy ends; `done` is called on the loop."""
        attempts = Attempts(done)
        self._attempt(leaf, promise, attempts, 1)
        return attempts

    def _attempt(self, leaf: Leaf, promise: Promise, attempts: Attempts, number: int) -> None:
        if attempts.done is None:
            return
        function, call = leaf.function, leaf.call
        tags = promise.tags if leaf.root else {}
        info = Info(number, leaf.timeout_at, function.version, tags)
        context = self.context(leaf.id, info)
        try:
            function.check(call.args, call.kwargs)
        except TypeError as error:
            attempts.done(None, error, context)
            return

        def work() -> Any:
            return function.func(context, *call.args, **call.kwargs)

        def ended(value: Any, error: BaseException | None) -> None:
            self._session.post(
                lambda: self._ended(leaf, promise, attempts, number, value, error, context)
            )

        self._executor.submit(work, ended, is_async=function.is_async)

    def _ended(
        self,
        leaf: Leaf,
        promise: Promise,
        attempts: Attempts,
        number: int,
        value: Any,
        error: BaseException | None,
        context: Context,
    ) -> None:
        if attempts.done is None:
            return
        if isinstance(error, Exception) and not isinstance(error, UsageError):
            delay_ms = self._delay_ms(leaf, number)
            if delay_ms is not None:
                log.warning(
                    "%s attempt %d of %s failed, again in %d ms: %r",
                    leaf.id,
                    number,
                    leaf.function.name,
                    delay_ms,
                    error,
                )
                self._session.later(
                    delay_ms, lambda: self._attempt(leaf, promise, attempts, number + 1)
                )
                return
        attempts.done(value, error, context)

    def _delay_ms(self, leaf: Leaf, number: int) -> int | None:
        """When to try again; a policy that fails itself ends the attempts."""
        left_ms = leaf.timeout_at - self._session.now()
        try:
            return retries_after(leaf.function.retry, number, left_ms)
        except Exception:
            log.exception("the retry policy of %s failed; no further attempt", leaf.function.name)
            return None
