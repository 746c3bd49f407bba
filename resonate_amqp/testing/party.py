"""Party: one Resonate in a test system: a caller that lives on, and a worker that may die.

A test is both: it holds handles, and it has registered the functions. So the two are separate
processes here, as they are in production, and the death of one does not touch the other.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from resonate_amqp.core.model import Promise
from resonate_amqp.core.requests import Request, Response, TaskCreate
from resonate_amqp.errors import ResonateError, Stopped, UsageError
from resonate_amqp.ports import Broker, Telemetry
from resonate_amqp.resonate.machine import NoFailpoints, SystemRandom
from resonate_amqp.resonate.node import Node, Settling
from resonate_amqp.runtime.registry import Registry
from resonate_amqp.settings import Settings
from resonate_amqp.testing.leaves import StageExecutor
from resonate_amqp.testing.stage import Stage
from resonate_amqp.wire.envelope import Reply

GRACE_S = 0.2
"""How long a promise may stay unsettled at rest: a thread of the test may be about to settle it."""

_DEAD: list[Node] = []
"""Killed workers. They are kept until the interpreter ends, because to collect them would run the
`finally` of bodies that were cut off, which no killed process does."""


class Party(Node):
    """The node of one Resonate. Its worker is there as soon as a function is registered.

    `connect` gives access to the broker; `at_rest` tells why nothing moves, for an error;
    `killed` is told the pid of each worker that died.
    """

    def __init__(
        self,
        stage: Stage,
        connect: Callable[[], Broker],
        registry: Registry,
        settings: Settings,
        dependencies: Mapping[str, Any],
        telemetry: Telemetry,
        on_failure: Callable[[], None],
        at_rest: Callable[[str], str],
        killed: Callable[[str], None],
    ) -> None:
        self.group = settings.group
        self.worker: Node | None = None
        self.on_failure = on_failure
        self._stage = stage
        self._connect = connect
        self._registry = registry
        self._given = settings, dependencies, telemetry
        self._longest_ms = round(2000 * settings.request_timeout)
        self._wanted = False
        self._serving = False
        self._gone = False
        self._at_rest = at_rest
        self._killed = killed
        self._hands = StageExecutor(stage, settings.threads)
        self._orphans: list[StageExecutor] = []
        super().__init__(
            connect(),
            registry,
            replace(settings, pid=SystemRandom().token()),
            dependencies,
            StageExecutor(stage, settings.threads),
            telemetry,
            NoFailpoints(),
            on_failure,
            stage.clock,
            stage.drive,
        )

    def attend(self) -> None:
        """See that there is a worker, on the stage's thread."""
        if self._gone:
            return
        if self.worker is None and (self._wanted or len(self._registry)):
            self._hire()
        if self.worker is not None and not self._serving and (self._wanted or len(self._registry)):
            self._serving = True
            self.worker.start()

    def start(self) -> None:
        self._wanted = True
        self._stage.wake()

    def kill(self) -> bool:
        """The worker is gone at once, with all it had in memory; another one comes."""
        with self._stage.turning:
            worker, self.worker = self.worker, None
            if worker is None:
                return False
            self._serving = False
            _DEAD.append(worker)
            self._orphans.append(self._hands)
            worker.abandon()
            self._killed(worker.session.pid)
        self._stage.wake()
        return True

    def create_listening(self, request: Request, promise_id: str, settled: Settling) -> Response:
        """As the node's, but what is to run in this process runs in its worker."""
        if not isinstance(request, TaskCreate):
            return super().create_listening(request, promise_id, settled)
        while True:
            worker = self._present()
            own = replace(request, pid=worker.session.pid)
            unheard: Settling = Future()
            unheard.set_running_or_notify_cancel()
            try:
                response = worker.create_listening(own, promise_id, unheard)
            except Stopped:
                if self._gone:
                    raise
                continue
            self.listen(promise_id, settled)
            return response

    def may_block(
        self, settled: Future[Promise] | None = None, timeout: float | None = None
    ) -> None:
        """As the node's; and raise where nothing will come without time passing.

        UsageError without a timeout, TimeoutError with one: on a clock that stands still it is
        as good as over.
        """
        super().may_block()
        if settled is None or settled.done():
            return
        settled.add_done_callback(lambda _settled: self._stage.wake())
        leaf = self._stage.awaiting(settled)
        if leaf is not None:
            concurrent.futures.wait([settled], timeout)
            return
        while not self._stage.until(settled.done, timeout):
            patience = GRACE_S if timeout is None else min(timeout, GRACE_S)
            concurrent.futures.wait([settled], patience)
            if not settled.done() and not self._stage.until(settled.done, timeout):
                if timeout is None:
                    raise UsageError(self._at_rest("the promise is not settled"))
                raise TimeoutError

    def stop(self, grace_s: float) -> None:
        with self._stage.turning:
            if self._gone:
                return
            self._gone = True
            worker, self.worker = self.worker, None
        if worker is not None:
            worker.stop(grace_s)
        super().stop(0)
        for executor in self._orphans:
            executor.close()

    def _hire(self) -> None:
        settings, dependencies, telemetry = self._given
        self._hands = StageExecutor(self._stage, settings.threads)
        self.worker = Node(
            self._connect(),
            self._registry,
            settings,
            dependencies,
            self._hands,
            telemetry,
            NoFailpoints(),
            self.on_failure,
            self._stage.clock,
            self._stage.drive,
        )

    def _present(self) -> Node:
        self._stage.wake()
        while True:
            worker = self.worker
            if worker is not None:
                return worker
            if not self._stage.until(lambda: self.worker is not None):
                raise UsageError(f"group {self.group!r} has registered nothing that could run")

    def _answer(self, asked: Future[Reply]) -> Reply:
        """The ledger's answer; time passes while a message that was lost has to be repeated."""
        if self._stage.awaiting(asked) is None:
            given_up_at = self._stage.clock.elapsed + self._longest_ms
            while not self._stage.until(asked.done):
                if self._stage.clock.elapsed > given_up_at:
                    raise ResonateError(self._at_rest("a call was neither answered nor given up"))
                self._stage.pass_time(None)
        return asked.result()
