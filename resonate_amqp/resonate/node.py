"""Node: one process's part of the system: a session, a worker, and the thread that drives them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from resonate_amqp.core.model import Promise
from resonate_amqp.core.requests import (
    OriginGet,
    PromiseRegisterListener,
    Request,
    Response,
    TaskCreate,
)
from resonate_amqp.errors import LedgerError, ResonateError, Stopped, UsageError
from resonate_amqp.ports import Broker, Executor, Failpoints, Telemetry
from resonate_amqp.resonate.machine import Pump, SystemClock, SystemRandom
from resonate_amqp.runtime.registry import Registry
from resonate_amqp.runtime.session import Session
from resonate_amqp.runtime.worker import TTL_LEASE_MS, Worker
from resonate_amqp.settings import Settings
from resonate_amqp.wire.envelope import Reply

Settled = Future[Promise]


class Node:
    """Thread-safe; every method may be called from any thread but the node's own."""

    def __init__(
        self,
        broker: Broker,
        registry: Registry,
        settings: Settings,
        dependencies: Mapping[str, Any],
        executor: Executor,
        telemetry: Telemetry,
        failpoints: Failpoints,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_failure = on_failure
        self._settings = settings
        self._stopped = threading.Event()
        self._waiting: set[Future[Any]] = set()
        self._executor = executor
        self.session = Session(
            broker, SystemClock(), SystemRandom(), group=settings.group, pid=settings.pid
        )
        self._worker = Worker(
            self.session, registry, executor, telemetry, failpoints, settings, dependencies
        )
        self._pump = Pump(broker, self.session, f"resonate-{settings.group}", self._failed)

    @property
    def running(self) -> bool:
        """Whether the thread that drives this node is alive."""
        return self._pump.running

    def start(self) -> None:
        """Take tasks from the group's queue from now on."""
        self.session.post(self._worker.start)

    def request(self, steps: Sequence[Request | OriginGet], about: str) -> Reply:
        """Send one group and wait for its answer.

        Raises BrokerError or LedgerError when none came within `request_timeout`.
        """
        return self._wait(lambda done: self._send(steps, about, done))

    def create_listening(self, request: Request, promise_id: str, settled: Settled) -> Response:
        """Send a create and register for its outcome in the same group."""
        listener = PromiseRegisterListener(awaited=promise_id, address="")

        def begin(done: Callable[[Reply | ResonateError], None]) -> None:
            def answered(reply: Reply | ResonateError) -> None:
                if isinstance(reply, Reply):
                    self._created(request, reply, promise_id, settled)
                done(reply)

            self._send([request, listener], promise_id, answered)

        return self._wait(begin).responses[0]

    def listen(self, promise_id: str, settled: Settled) -> None:
        """Settle the future when the promise is settled."""
        self.session.post(lambda: self._listen(promise_id, settled, registered=False))

    def stop(self, grace_s: float) -> None:
        """Take no more tasks, let leaves end for `grace_s`, park the rest, disconnect."""
        if self._stopped.is_set():
            return
        self.session.post(self._worker.stop_taking)
        until = time.monotonic() + grace_s
        while self._pump.running and time.monotonic() < until and self._worker.busy():
            time.sleep(0.01)
        self.session.post(self._worker.give_up)
        until = time.monotonic() + min(1.0, grace_s)
        while self._pump.running and time.monotonic() < until and len(self.session.calls):
            time.sleep(0.01)
        self._stopped.set()
        self._pump.stop()
        self._executor.close()
        self._fail_waiting(Stopped("the instance was stopped while the call was under way"))

    def _send(
        self,
        steps: Sequence[Request | OriginGet],
        about: str,
        done: Callable[[Reply | ResonateError], None],
    ) -> None:
        timeout_ms = round(self._settings.request_timeout * 1000)
        self.session.calls.send(steps, done, about=about, timeout_ms=timeout_ms)

    def _wait(self, begin: Callable[[Callable[[Reply | ResonateError], None]], None]) -> Reply:
        self.may_block()
        future: Future[Reply] = Future()
        self._waiting.add(future)
        if self._stopped.is_set():
            self._waiting.discard(future)
            raise Stopped("the instance was stopped; create another one")

        def done(reply: Reply | ResonateError) -> None:
            self._waiting.discard(future)
            if isinstance(reply, ResonateError):
                future.set_exception(reply)
            else:
                future.set_result(reply)

        self.session.post(lambda: begin(done))
        reply = future.result()
        refused = next((one for one in reply.responses if not one.ok), None)
        if refused is not None and refused.status in (400, 422):
            raise UsageError(refused.error)
        if refused is not None and refused.status == 500:
            raise LedgerError(refused.error)
        return reply

    def _created(self, request: Request, reply: Reply, promise_id: str, settled: Settled) -> None:
        """On the node's thread: run what was acquired, and keep the registration."""
        first = reply.responses[0]
        task, promise = first.task, first.promise
        ours = first.ok and task is not None and task.pid == self.session.pid
        if isinstance(request, TaskCreate) and ours and task and promise and promise.pending:
            self._worker.adopt(promise, task.version, request.holder, first)
        if len(reply.responses) == 2 or first.status == 409:
            self._listen(promise_id, settled, registered=len(reply.responses) == 2)
            for response in reply.responses:
                if response.promise is not None:
                    self.session.listeners.take(response.promise)

    def _listen(self, promise_id: str, settled: Settled, *, registered: bool) -> None:
        self._waiting.add(settled)

        def heard(outcome: Promise | ResonateError) -> None:
            self._waiting.discard(settled)
            if settled.done():
                return
            if isinstance(outcome, ResonateError):
                settled.set_exception(outcome)
            else:
                settled.set_result(outcome)

        self.session.listeners.add(promise_id, heard, registered=registered)

    def may_block(self) -> None:
        """Raise UsageError on the node's own thread, which would wait for itself."""
        if self._pump.current():
            raise UsageError(
                "a workflow's body waited for an answer that its own thread brings; yield "
                "ctx.rfc(…) or ctx.rfi(…) instead, or wait in a leaf: yield ctx.lfc(function)"
            )

    def _failed(self, error: BaseException) -> None:
        self._stopped.set()
        self._fail_waiting(error)
        self._on_failure()

    def _fail_waiting(self, error: BaseException) -> None:
        for future in list(self._waiting):
            self._waiting.discard(future)
            if not future.done():
                future.set_exception(error)


def ttl_create(session: Session, action: Any) -> TaskCreate:
    """A create that this process acquires at once, under a TTL lease."""
    return TaskCreate(
        pid=session.pid, ttl=TTL_LEASE_MS, holder=session.random.token(), action=action
    )
