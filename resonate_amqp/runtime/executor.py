"""ThreadExecutor: leaves on daemon threads, `async def` bodies on one event loop.

The standard pool joins its threads when the interpreter exits; a leaf that hangs must not keep a
finished program alive, so the threads here are daemons.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from resonate_amqp.runtime.branches import hosting

UNWIND_S = 1.0
"""How long coroutines may take to unwind once the loop was stopped."""

Done = Callable[[Any, BaseException | None], None]


class ThreadExecutor:
    """At most `threads` plain leaves at once; satisfies the port `Executor`."""

    def __init__(self, threads: int) -> None:
        self._limit = threads
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], Done] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._own: set[int] = set()
        self._waiting: set[int] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def submit(self, work: Callable[[], Any], done: Done, *, is_async: bool) -> None:
        if is_async:
            self._submit_async(work, done)
            return
        with self._lock:
            self._work.put((work, done))
            if self._idle == 0 and self._threads < self._limit:
                self._threads += 1
                name = f"resonate-leaf-{self._threads}"
                threading.Thread(target=self._run, name=name, daemon=True).start()
            elif self._idle:
                self._idle -= 1

    def may_wait(self, settled: Future[Any]) -> bool:
        """False for the last thread that does not wait: what it waits for may need a thread."""
        here = threading.get_ident()
        with self._lock:
            if here not in self._own:
                return True
            if len(self._waiting | {here}) >= self._limit:
                return False
            self._waiting.add(here)
        settled.add_done_callback(lambda _settled: self._goes_on(here))
        return True

    def _goes_on(self, thread: int) -> None:
        with self._lock:
            self._waiting.discard(thread)

    def close(self) -> None:
        with self._lock:
            for _ in range(self._threads):
                self._work.put(None)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self) -> None:
        here = threading.get_ident()
        with self._lock:
            self._own.add(here)
        while True:
            item = self._work.get()
            if item is None:
                return
            work, done = item
            try:
                value = work()
            except BaseException as error:  # the outcome of the user's function
                done(None, error)
            else:
                done(value, None)
            del item, work, done
            with self._lock:
                self._idle += 1
                self._waiting.discard(here)

    def _submit_async(self, work: Callable[[], Any], done: Done) -> None:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            hosting(self._loop)
            threading.Thread(
                target=_turn, args=(self._loop,), name="resonate-async-leaves", daemon=True
            ).start()

        async def run() -> None:
            try:
                value = await work()
            except BaseException as error:  # the outcome of the user's function
                done(None, error)
            else:
                done(value, None)

        coroutine = run()
        try:
            asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:  # the executor was closed
            coroutine.close()
            raise


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop until it is stopped; what is unfinished then is canceled."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=UNWIND_S))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
