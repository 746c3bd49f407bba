"""Lending: a thread that the shop's framework owns runs what a durable body asks of it.

The framework's own thread holds what user code expects to find: the current task, a database
connection, an open channel. While its claim is under way it lends itself: it runs the jobs it is
given, one after another, and hears how the claim goes.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from typing import Any

from resonate_amqp.runtime.branches import Aside
from resonate_amqp.runtime.claims import Claimed
from resonate_amqp.runtime.outcomes import Postponed

Work = Callable[[], Any]
Outcome = tuple[Any, BaseException | None]
Answer = Callable[[Any, BaseException | None], None]


class Withdrawn(BaseException):
    """The thread that lent itself has left: whoever asked it for something must end.

    Not an Exception: no `except Exception` of a body may take it for an outcome.
    """


class Job:
    """One thing to be done by the lending thread."""

    __slots__ = ("_answer", "_dropped", "_work")

    def __init__(self, work: Work, answer: Answer, dropped: Callable[[], bool]) -> None:
        self._work = work
        self._answer = answer
        self._dropped = dropped

    def run(self) -> None:
        """Do it, and give whoever asked the value or the error; nothing if nobody waits any more.

        What is no Exception (the process is told to exit) is raised here, and whoever asked is
        told Withdrawn.
        """
        if self._dropped():
            return
        try:
            value = self._work()
        except StopIteration as stop:
            # A future refuses to carry it, and whoever awaits would take it for a return.
            error = RuntimeError(f"the step raised {stop!r}")
            error.__cause__ = stop
            self.fail(error)
        except Exception as raised:
            self.fail(raised)
        except BaseException:
            self.withdraw()
            raise
        else:
            self._answer(value, None)

    def fail(self, error: BaseException) -> None:
        """Tell whoever asked that it failed; nothing if they were answered."""
        self._answer(None, error)

    def withdraw(self) -> None:
        """Tell whoever asked that it will not be done."""
        self.fail(Withdrawn("the thread that ran the body has left it"))


class Lent:
    """A mailbox between the lending thread and those who ask it for something.

    `next` and `close` belong to the lending thread; `call` to a thread that may block, `acall` to
    the executor's loop, `tell` and `submit` to any thread. None of these four blocks the caller
    longer than it says, and after `close` each but `tell` ends with Withdrawn at once.
    """

    def __init__(self) -> None:
        self._inbox: queue.SimpleQueue[Job | Claimed] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False

    def tell(self, what: Claimed) -> None:
        """Have the lending thread hear how its claim goes."""
        self._put(what)

    def call(self, work: Work) -> Any:
        """Have the lending thread do something; blocks until it has."""
        future: Future[Any] = Future()

        def answer(value: Any, error: BaseException | None) -> None:
            with suppress(InvalidStateError):
                _settle(future, value, error)

        self._put(Job(work, answer, future.cancelled))
        return future.result()

    def acall(self, work: Work) -> Aside:
        """Have the lending thread do something, from the executor's loop: await the answer."""
        loop = asyncio.get_running_loop()
        future = Aside(loop=loop)

        def take(value: Any, error: BaseException | None) -> None:
            if not future.done():
                _settle(future, value, error)

        def answer(value: Any, error: BaseException | None) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(take, value, error)

        self._put(Job(work, answer, future.cancelled))
        return future

    def submit(self, work: Work, answer: Answer) -> None:
        """Have the lending thread do something, and call `answer` there, or where it is closed."""
        self._put(Job(work, answer, lambda: False))

    def next(self, timeout: float | None = None) -> Job | Claimed | None:
        """What comes next for the lending thread; None when nothing did within `timeout`."""
        try:
            return self._inbox.get(timeout=timeout)
        except queue.Empty:
            return None

    def close(self) -> None:
        """The lending thread leaves: what it was asked for and did not do ends with Withdrawn."""
        with self._lock:
            self._closed = True
        while True:
            try:
                left = self._inbox.get_nowait()
            except queue.Empty:
                return
            if isinstance(left, Job):
                left.withdraw()

    def __enter__(self) -> Lent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _put(self, what: Job | Claimed) -> None:
        with self._lock:
            if not self._closed:
                self._inbox.put(what)
                return
        if isinstance(what, Job):
            what.withdraw()


class LentExecutor:
    """Satisfies the port `Executor`: plain functions run in the lending thread, one after another.

    `attempt` runs one there and answers its value or its error. A function that the thread did
    not run to its end has no outcome: its task is released.
    """

    def __init__(self, lent: Lent, attempt: Callable[[Work], Outcome]) -> None:
        self._lent = lent
        self._attempt = attempt

    def may_wait(self, settled: Future[Any]) -> bool:
        return True

    def submit(self, work: Work, done: Answer, *, is_async: bool) -> None:
        """Run `work`, which is no coroutine function; `done` is called in the lending thread."""
        assert not is_async

        def answer(outcome: Outcome | None, error: BaseException | None) -> None:
            if outcome is not None:
                done(*outcome)
            else:
                done(None, Postponed(0.0) if isinstance(error, Withdrawn) else error)

        self._lent.submit(partial(self._attempt, work), answer)

    def close(self) -> None:
        """The thread is closed by whoever lent it."""


def _settle(
    future: Future[Any] | asyncio.Future[Any], value: Any, error: BaseException | None
) -> None:
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
