"""Node: one process's part of the system: a session, a worker, and the thread that drives them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from resonate_amqp.core.model import TARGET, Promise
from resonate_amqp.core.requests import (
    PromiseCreate,
    PromiseRegisterListener,
    Query,
    Request,
    Response,
    TaskCreate,
)
from resonate_amqp.errors import LedgerError, ResonateError, Stopped, UsageError
from resonate_amqp.ports import Broker, Clock, Executor, Failpoints, Telemetry
from resonate_amqp.resonate.conflicts import conflict
from resonate_amqp.resonate.machine import Drive, Pump, SystemClock, SystemRandom
from resonate_amqp.resonate.pages import pages
from resonate_amqp.runtime.branches import stepping
from resonate_amqp.runtime.claims import Claim, Settled
from resonate_amqp.runtime.deadletters import Dead
from resonate_amqp.runtime.registry import Registry
from resonate_amqp.runtime.session import TTL_LEASE_MS, Session
from resonate_amqp.runtime.worker import Worker
from resonate_amqp.settings import Settings
from resonate_amqp.wire.address import shard_key
from resonate_amqp.wire.envelope import Reply

Settling = Future[Promise]
Done = Callable[[Reply | ResonateError], None]
Begin = Callable[[Done], None]
"""Sends a request on the node's thread, and has what it is given told of the answer."""


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
        clock: Clock | None = None,
        drive: Drive = Pump,
    ) -> None:
        self._on_failure = on_failure
        self._settings = settings
        self._stopped = threading.Event()
        self._waiting: set[Future[Any]] = set()
        self._executor = executor
        self.session = Session(
            broker,
            clock or SystemClock(),
            SystemRandom(),
            group=settings.group,
            pid=settings.pid,
            ttl_ms=min(TTL_LEASE_MS, round(1000 * min(settings.lease, 2 * settings.refresh))),
        )
        self._worker = Worker(
            self.session, registry, executor, telemetry, failpoints, settings, dependencies
        )
        self._pump = drive(broker, self.session, f"resonate-{settings.group}", self._failed)

    @property
    def running(self) -> bool:
        """Whether the thread that drives this node is alive."""
        return self._pump.running

    def start(self) -> None:
        """Take tasks from the group's queue from now on."""
        self.session.post(self._worker.start)

    def request(self, steps: Sequence[Request | Query], about: str) -> Reply:
        """Send one group and wait for its answer.

        Raises BrokerError or LedgerError when none came within `request_timeout`.
        """
        return self._wait(lambda done: self._send(steps, about, done))

    def find(self, query: Query, limit: int | None, root: str | None = None) -> list[Reply]:
        """Answers to a query, page by page, of the ledger queue that keeps `root`, or of each.

        Together they hold everything, or `limit` records of a queue.
        """
        replies = list(pages(lambda page: self.request([page], root or ""), query, limit))
        for key in self.session.calls.keys_but(shard_key("")) if root is None else ():
            replies += pages(partial(self._request_at, key), query, limit)
        return replies

    async def soon_request(self, steps: Sequence[Request | Query], about: str) -> Reply:
        """As `request`, for a running event loop."""
        return await self._soon(lambda done: self._send(steps, about, done))

    def ask(self, steps: Sequence[Request | Query], about: str) -> Future[Reply]:
        """Send one group; its answer comes later, or BrokerError or LedgerError."""
        return self._asked(lambda done: self._send(steps, about, done))

    def claim(self, claim: Claim) -> None:
        """Claim a task and run its body here; who claims is told on the node's thread."""
        self.session.post(lambda: self._worker.claims.add(claim))

    def watch(self, promise_id: str, told: Callable[[Settled], None]) -> None:
        """Tell, on the node's thread, when a promise is settled; nothing if it is never known."""
        settled: Future[Promise] = Future()

        def heard(outcome: Future[Promise]) -> None:
            if not outcome.cancelled() and outcome.exception() is None:
                told(Settled(outcome.result()))

        settled.add_done_callback(heard)
        self.listen(promise_id, settled)

    def dead_letter(self, body: bytes, reason: str, queue: str, done: Callable[[], None]) -> None:
        """Put a message of a foreign queue aside; `done` is told on the node's thread."""
        dead = Dead(body, reason, queue, done)
        self.session.post(lambda: self._worker.dead.put(dead))

    def insist(self, steps: Sequence[Request], about: str, answered: Done) -> None:
        """Send one group until it is answered, which `answered` is told on the node's thread."""
        self.session.post(lambda: self._insist(steps, about, answered))

    def _insist(self, steps: Sequence[Request], about: str, answered: Done) -> None:
        self.session.calls.send(steps, answered, about=about)

    def create_listening(self, request: Request, promise_id: str, settled: Settling) -> Response:
        """Send a create and register for its outcome in the same group."""
        return self._wait(self._creating(request, promise_id, settled)).responses[0]

    async def soon_create_listening(
        self, request: Request, promise_id: str, settled: Settling
    ) -> Response:
        """As `create_listening`, for a running event loop."""
        return (await self._soon(self._creating(request, promise_id, settled))).responses[0]

    def _creating(self, request: Request, promise_id: str, settled: Settling) -> Begin:
        listener = PromiseRegisterListener(awaited=promise_id, address="")

        def begin(done: Done) -> None:
            if isinstance(request, PromiseCreate):
                self.session.unserved.called(request.tags.get(TARGET, ""))

            def answered(reply: Reply | ResonateError) -> None:
                told = reply
                try:
                    if isinstance(reply, Reply):
                        told = conflict(request, reply.responses[0]) or reply
                        wanted = settled if told is reply else None
                        self._created(request, reply, promise_id, wanted)
                finally:
                    done(told)

            self._send([request, listener], promise_id, answered)

        return begin

    def listen(self, promise_id: str, settled: Settling) -> None:
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
        stopped = Stopped("the instance was stopped while the call was under way")
        self._fail_waiting(stopped)
        self._worker.claims.fail_all(stopped)

    def abandon(self) -> None:
        """Be gone, as a killed process is: nothing is parked, released or told."""
        self._stopped.set()
        self._pump.stop()
        self._fail_waiting(Stopped("the process was killed"))

    def may_block(self, settled: Settling | None = None, timeout: float | None = None) -> None:
        """Called before waiting for `settled`; raises UsageError where nobody may block.

        The node's own thread would wait for itself, the loop of async functions would keep all
        others waiting, and the last thread of the pool may be what is waited for.
        """
        if self._pump.current():
            raise UsageError(
                "a workflow's body waited for an answer that its own thread brings; yield "
                "ctx.rfc(…) or ctx.rfi(…) instead, or ctx.get(id) for an execution that is there"
            )
        if stepping():
            raise UsageError(
                "an async function waited, and with it every other of this process; in a workflow "
                "await ctx.rfc(…), ctx.rfi(…) or ctx.get(id), in a leaf `await handle`, "
                "resonate.arpc(…) or asyncio.to_thread(…)"
            )
        if settled is not None and not self._executor.may_wait(settled):
            raise UsageError(
                f"all {self._settings.threads} threads wait for other calls, which may need one to "
                "run; let a workflow wait, which needs no thread: yield ctx.rfc(…). The setting "
                "`threads` is how many there are"
            )

    def _send(
        self,
        steps: Sequence[Request | Query],
        about: str,
        done: Done,
        key: str = "",
    ) -> None:
        timeout_ms = round(self._settings.request_timeout * 1000)
        self.session.calls.send(steps, done, about=about, key=key, timeout_ms=timeout_ms)

    def _send_to(self, key: str, query: Query, done: Done) -> None:
        self._send([query], "", done, key)

    def _request_at(self, key: str, query: Query) -> Reply:
        return self._wait(partial(self._send_to, key, query))

    def _wait(self, begin: Begin) -> Reply:
        self.may_block()
        return _checked(self._answer(self._asked(begin)))

    async def _soon(self, begin: Begin) -> Reply:
        return _checked(await asyncio.wrap_future(self._asked(begin)))

    def _asked(self, begin: Begin) -> Future[Reply]:
        """Have a request sent; nobody who waits for its answer can cancel it."""
        future: Future[Reply] = Future()
        future.set_running_or_notify_cancel()
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
        return future

    def _created(
        self, request: Request, reply: Reply, promise_id: str, settled: Settling | None
    ) -> None:
        """On the node's thread: run what was acquired, and keep the registration if wanted."""
        first = reply.responses[0]
        task, promise = first.task, first.promise
        ours = first.ok and task is not None and task.pid == self.session.pid
        if isinstance(request, TaskCreate) and ours and task and promise and promise.pending:
            self._worker.adopt(promise, task.version, request.holder, first)
        if settled is not None and (len(reply.responses) == 2 or first.status == 409):
            self._listen(promise_id, settled, registered=len(reply.responses) == 2)
            for response in reply.responses:
                if response.promise is not None:
                    self.session.listeners.take(response.promise)

    def _listen(self, promise_id: str, settled: Settling, *, registered: bool) -> None:
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

    def _answer(self, asked: Future[Reply]) -> Reply:
        return asked.result()

    def _failed(self, error: BaseException) -> None:
        self._stopped.set()
        self._fail_waiting(error)
        self._worker.claims.fail_all(ResonateError(f"the node's loop failed: {error!r}"))
        self._on_failure()

    def _fail_waiting(self, error: BaseException) -> None:
        for future in list(self._waiting):
            self._waiting.discard(future)
            if not future.done():
                future.set_exception(error)


def _checked(reply: Reply) -> Reply:
    refused = next((one for one in reply.responses if not one.ok), None)
    if refused is not None and refused.status in (400, 422):
        raise UsageError(refused.error)
    if refused is not None and refused.status == 500:
        raise LedgerError(refused.error)
    return reply


def ttl_create(session: Session, action: Any) -> TaskCreate:
    """A create that this process acquires at once, under a TTL lease."""
    return TaskCreate(
        pid=session.pid, ttl=session.ttl_ms, holder=session.random.token(), action=action
    )
