"""Leaves: functions without durable calls, run off the loop, with their retry policy.

An `async def` body runs here as well: it is a leaf until it awaits its first command, and from
then on a workflow whose turns are told.
"""

from __future__ import annotations

import logging
import random
import time
from collections import ChainMap
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import Context as Variables
from dataclasses import dataclass
from typing import Any, cast

from resonate_amqp.core.model import Promise
from resonate_amqp.errors import UsageError
from resonate_amqp.ports import Executor
from resonate_amqp.runtime.context import Context, Info
from resonate_amqp.runtime.coroutines import Ended, Strands, Work
from resonate_amqp.runtime.frames import Turn
from resonate_amqp.runtime.outcomes import Final
from resonate_amqp.runtime.recorded import RANDOM, TIME
from resonate_amqp.runtime.replay import Leaf
from resonate_amqp.runtime.retry import retries_after
from resonate_amqp.runtime.session import Session

log = logging.getLogger(__name__)

LeafDone = Callable[[Any, BaseException | None, Context], None]
Turned = Callable[[Turn], None]

DEPENDENCIES: dict[str, Any] = {RANDOM: random, TIME: time}
"""Used where nothing else was set under these names."""


@dataclass(slots=True, eq=False)
class Attempts:
    """One leaf on its way; `abandon` makes whatever comes of it unheard.

    An `async def` body that has become a workflow is closed by that, or when it becomes one.
    """

    done: LeafDone | None
    strands: Strands | None = None

    def abandon(self, *, cancel: bool = False) -> None:
        """Hear no more of it; with `cancel` an `async def` that is a leaf yet ends, too."""
        self.done = None
        if self.strands is not None:
            self.strands.close(at_once=cancel)


class Leaves:
    """Runs leaves on an executor; their ends come back to the loop."""

    def __init__(
        self, session: Session, executor: Executor, dependencies: Mapping[str, Any]
    ) -> None:
        self._session = session
        self._executor = executor
        # What is set later counts as well, so this must not be a copy.
        own = cast(MutableMapping[str, Any], dependencies)
        self._dependencies: Mapping[str, Any] = ChainMap(own, DEPENDENCIES)

    def context(self, promise_id: str, info: Info) -> Context:
        """The context of a body of this process."""
        return Context(promise_id, info, self._dependencies)

    def run(self, leaf: Leaf, promise: Promise, done: LeafDone, turned: Turned) -> Attempts:
        """Run a leaf until it succeeds or its policy ends.

        `done` and, of an `async def` body that awaits commands, `turned` are called on the
        session's thread.
        """
        attempts = Attempts(done)
        self._attempt(leaf, promise, attempts, turned, 1)
        return attempts

    def _attempt(
        self, leaf: Leaf, promise: Promise, attempts: Attempts, turned: Turned, number: int
    ) -> None:
        if attempts.done is None:
            return
        function, call = leaf.function, leaf.call
        tags = promise.tags if leaf.root else {}
        info = Info(number, leaf.timeout_at, function.version, tags)
        context = self.context(leaf.id, info)
        try:
            args, kwargs = function.arguments(call.args, call.kwargs)
        except TypeError as error:
            attempts.done(None, error, context)
            return

        def work() -> Any:
            return function.func(context, *args, **kwargs)

        work.__qualname__ = f"{function.name} as {leaf.id}"

        def plainly() -> Any:
            # It may have waited for its thread until nobody heeds it any more.
            if attempts.done is None:
                return None
            # A thread that a framework lent has the variables that the framework set there.
            return work() if leaf.executor is not None else Variables().run(work)

        plainly.__qualname__ = work.__qualname__

        def again(delay_ms: int) -> None:
            self._session.later(
                delay_ms, lambda: self._attempt(leaf, promise, attempts, turned, number + 1)
            )

        def ended(value: Any, error: BaseException | None) -> None:
            self._session.post(
                lambda: self._ended(leaf, attempts, number, value, error, context, again)
            )

        def told(what: Turn | Ended | None, error: BaseException | None = None) -> None:
            if isinstance(what, Turn):
                turn = what
                self._session.post(lambda: turned(turn))
            elif what is not None or error is not None:
                if what is not None and what.turn is not None:
                    told(what.turn)
                ended(what and what.value, what.error if what is not None else error)

        def submit(turn: Work) -> None:
            def run() -> Any:
                return turn()

            run.__qualname__ = work.__qualname__
            self._executor.submit(run, told, is_async=True)

        if function.is_async:
            attempts.strands = Strands(context, work, submit, told)
            attempts.strands.begin()
        else:
            (leaf.executor or self._executor).submit(plainly, ended, is_async=False)

    def _ended(
        self,
        leaf: Leaf,
        attempts: Attempts,
        number: int,
        value: Any,
        error: BaseException | None,
        context: Context,
        again: Callable[[int], None],
    ) -> None:
        if attempts.done is None:
            return
        if isinstance(error, Final):
            attempts.done(None, error.error, context)
            return
        workflow = attempts.strands is not None and attempts.strands.durable
        if isinstance(error, Exception) and not isinstance(error, UsageError) and not workflow:
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
                again(delay_ms)
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
