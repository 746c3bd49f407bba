"""Leaves in a test run on threads, as they do elsewhere; the stage knows of each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from resonate_amqp.runtime.executor import Done, ThreadExecutor
from resonate_amqp.testing.stage import Leaving, Stage


class StageExecutor(ThreadExecutor):
    """Satisfies the port `Executor`; the stage is not at rest while it runs something."""

    def __init__(self, stage: Stage, threads: int) -> None:
        super().__init__(threads)
        self._stage = stage

    def submit(self, work: Callable[[], Any], done: Done, *, is_async: bool) -> None:
        leaf = Leaving(getattr(work, "__qualname__", repr(work)))
        self._stage.enter(leaf)

        def run() -> Any:
            if not is_async:
                leaf.thread = threading.get_ident()
            return work()

        def ended(value: Any, error: BaseException | None) -> None:
            done(value, error)
            self._stage.leave(leaf)

        super().submit(run, ended, is_async=is_async)
