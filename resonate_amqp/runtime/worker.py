"""Worker: takes offered tasks from its queues, runs their bodies, and lets go of deliveries.

An unacknowledged delivery is the lease. It is acknowledged only when the ledger has recorded how
the body left: settled, suspended, released, halted; or when the ledger says that the delivery is
void. When the consuming channel is lost, so are its leases, and every body under them is dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from resonate_amqp.core.model import Promise, PromiseState
from resonate_amqp.core.requests import (
    PromiseSettle,
    Response,
    TaskAcquire,
    TaskFulfill,
    TaskRelease,
    Verdict,
)
from resonate_amqp.errors import Encoding, Malformed, ResonateError
from resonate_amqp.ports import (
    Confirmed,
    ConsumerLost,
    Delivery,
    Event,
    Executor,
    Failpoints,
    Opened,
    Refused,
    Telemetry,
    Unconfirmed,
)
from resonate_amqp.runtime.alarms import Alarm
from resonate_amqp.runtime.body import Body, Ending, Held
from resonate_amqp.runtime.children import Family
from resonate_amqp.runtime.deadletters import DeadLetters
from resonate_amqp.runtime.leaves import Leaves
from resonate_amqp.runtime.refresh import Refresh
from resonate_amqp.runtime.registry import Registered, Registry
from resonate_amqp.runtime.replay import Replay
from resonate_amqp.runtime.session import Session
from resonate_amqp.runtime.slots import Slots
from resonate_amqp.settings import Settings
from resonate_amqp.wire.codec import decode_call, encode_error
from resonate_amqp.wire.envelope import ExecuteMessage, Reply, decode_execute
from resonate_amqp.wire.topology import target_queue

log = logging.getLogger(__name__)

TTL_LEASE_MS = 60_000
RETURN_FIRST_MS = 1_000
RETURN_LONGEST_MS = 30_000
UNKNOWN_LONGEST_MS = 60_000
CONSUME_AGAIN_MS = 1_000
REFUSED_AGAIN_MS = 5_000


class Worker:
    """Satisfies `session.Consumer`; consumes only after `start`."""

    def __init__(
        self,
        session: Session,
        registry: Registry,
        executor: Executor,
        telemetry: Telemetry,
        failpoints: Failpoints,
        settings: Settings,
        dependencies: Mapping[str, Any],
    ) -> None:
        self._session = session
        self._registry = registry
        self._telemetry = telemetry
        self._failpoints = failpoints
        self._settings = settings
        self._leaves = Leaves(session, executor, dependencies)
        self._queues = [
            target_queue(f"poll://any@{session.group}", settings.queue_type),
            target_queue(f"poll://uni@{session.group}/{session.pid}", settings.queue_type),
        ]
        self._bodies: dict[str, Body] = {}
        self._started: dict[str, int] = {}
        self._acquiring: dict[str, Delivery] = {}
        self._returning: dict[str, int] = {}
        self._kept: set[Delivery] = set()
        self._slots = Slots(settings.prefetch, session.clock)
        self._dead = DeadLetters(session)
        self._consuming = False
        self._refresh = Refresh(session, self._bodies, settings.refresh)
        self._touched: dict[str, Body] = {}
        self._delivered = 0
        self._recheck = Alarm(_nothing)
        self._recheck.cancel()
        session.attach(self)

    def start(self) -> None:
        """Take tasks from now on."""
        if not self._consuming:
            self._consuming = True
            self._consume()

    def stop_taking(self) -> None:
        """Take no more, and park whatever can be parked."""
        log.info("no more tasks are taken; %d bodies are left", len(self._bodies))
        self._consuming = False
        for queue in self._queues:
            self._session.broker.cancel(queue.name)
        for body in list(self._bodies.values()):
            if body.held.delivery is None and body.waiting_since is not None:
                body.release(0)
            else:
                self._watch(body)

    def give_up(self) -> None:
        """Release the TTL leases; deliveries go back with the connection."""
        for body in list(self._bodies.values()):
            if body.held.delivery is None:
                body.release(0)

    def busy(self) -> bool:
        return bool(self._bodies or self._acquiring)

    def take(self, event: Event) -> None:
        match event:
            case Delivery():
                self._offered(event)
            case Opened():
                if self._consuming:
                    self._consume()
            case ConsumerLost(queue=queue) if any(queue == own.name for own in self._queues):
                self._lost(queue)
            case Refused(queue=queue) if any(queue == own.name for own in self._queues):
                self._session.later(REFUSED_AGAIN_MS, self._consume_again)
            case Confirmed(tokens=tokens):
                self._dead.confirmed(tokens)
            case Unconfirmed(tokens=tokens):
                self._dead.unconfirmed(tokens)
            case _:
                pass

    def flush(self) -> None:
        """Let every body that learned something go on, then make room if it is needed."""
        while self._touched:
            holder, body = self._touched.popitem()
            if holder in self._bodies:
                body.flush()
                self._watch(body)
        in_use = len(self._acquiring) + len(self._kept) + self._delivered
        to_free = self._slots.to_free(in_use, self._leaving)
        if to_free:
            self._park_longest_waiting(to_free)
        recheck_ms = self._slots.recheck_ms()
        if recheck_ms is not None and not self._recheck.pending:
            self._recheck = self._session.later(recheck_ms, _nothing)

    def adopt(self, promise: Promise, version: int, holder: str, response: Response) -> None:
        """Run a task that this process created and acquired under a TTL lease."""
        self._run(Held(promise, version, holder, None), response)

    def _consume(self) -> None:
        for queue in self._queues:
            self._session.broker.consume(queue, prefetch=self._settings.prefetch)

    def _offered(self, delivery: Delivery) -> None:
        self._failpoints.reach("execute.delivered")
        if not self._consuming:
            self._session.broker.give_back(delivery)
            return
        try:
            message = decode_execute(delivery.body)
        except Malformed as error:
            self._dead.add(delivery, str(error))
            return
        holder = self._session.random.token()
        self._acquiring[holder] = delivery
        step = TaskAcquire(
            id=message.promise.id,
            version=message.version,
            pid=self._session.pid,
            ttl=round(self._settings.lease * 1000),
            holder=holder,
            ticket=message.ticket,
            redelivered=delivery.redelivered,
            redeliveries=delivery.redeliveries,
        )
        self._session.calls.send(
            [step], lambda reply: self._acquired(message, holder, reply), about=message.promise.id
        )

    def _acquired(self, message: ExecuteMessage, holder: str, reply: Reply | ResonateError) -> None:
        delivery = self._acquiring.pop(holder, None)
        if delivery is None or isinstance(reply, ResonateError):
            return
        response = reply.responses[0]
        self._failpoints.reach("acquire.answered")
        if response.ok and response.task is not None:
            self._returning.pop(message.promise.id, None)
            held = Held(message.promise, response.task.version, holder, delivery)
            if self._consuming:
                self._run(held, response)
            else:
                self._settle_unrun(held, _released(held, 0))
        elif response.verdict is Verdict.RETURN or response.status == 500:
            self._return_later(message.promise.id, delivery)
        else:
            log.info("%s", response.error)
            self._session.broker.ack([delivery])

    def _run(self, held: Held, response: Response) -> None:
        promise = held.promise
        try:
            call = decode_call(promise.param)
        except Encoding as error:
            self._reject(held, error)
            return
        function = self._registry.find(call.func, call.version)
        family = Family(promise.id, self._session.group, self._registry, self._settings.timeout)
        if function is None:
            self._release_unknown(held, call.func, call.version)
            return
        replay = Replay(promise, function, call, family, self._leaves.context)
        body = self._body(held, function, replay)
        self._telemetry.started(promise.id, function.name, held.version)
        body.start(response.preload, not response.more)

    def _body(self, held: Held, function: Registered, replay: Replay) -> Body:
        body = Body(
            held,
            function.name,
            replay,
            self._session,
            self._leaves,
            self._telemetry,
            self._failpoints,
            self._touch,
            self._ended,
        )
        self._bodies[held.holder] = body
        self._delivered += held.delivery is not None
        self._started[held.holder] = self._session.clock.monotonic()
        self._refresh.arm()
        return body

    def _release_unknown(self, held: Held, name: str, version: int) -> None:
        """Nobody here can run it: offer it again later, the longer it has waited the later."""
        age_ms = self._session.now() - held.promise.created_at
        delay_ms = max(1_000, min(age_ms // 2, UNKNOWN_LONGEST_MS))
        log.error(
            "%s needs function %r version %d, which is not registered in group %r (registered: "
            "%s); offered again in %d ms",
            held.promise.id,
            name,
            version,
            self._session.group,
            ", ".join(self._registry.names()) or "none",
            delay_ms,
        )
        self._settle_unrun(held, _released(held, delay_ms))

    def _reject(self, held: Held, error: Encoding) -> None:
        """Nobody can read the call: its promise is rejected with the reason."""
        settle = PromiseSettle(
            id=held.promise.id, state=PromiseState.REJECTED, value=encode_error(error)
        )
        fulfill = TaskFulfill(
            id=held.promise.id, version=held.version, holder=held.holder, action=settle
        )
        self._settle_unrun(held, fulfill)

    def _settle_unrun(self, held: Held, step: TaskRelease | TaskFulfill) -> None:
        delivery = held.delivery
        if delivery is None:
            self._session.calls.send([step], _ignore, about=held.promise.id)
            return
        self._acquiring[held.holder] = delivery

        def answered(_reply: Reply | ResonateError) -> None:
            if self._acquiring.pop(held.holder, None) is not None:
                self._session.broker.ack([delivery])

        self._session.calls.send([step], answered, about=held.promise.id)

    def _leaving(self) -> int:
        return sum(
            body.finishing and body.held.delivery is not None for body in self._bodies.values()
        )

    def _touch(self, body: Body) -> None:
        self._touched[body.held.holder] = body

    def _ended(self, body: Body, ending: Ending) -> None:
        """A body has left: its outcome is recorded or void, so its delivery can go."""
        self._bodies.pop(body.held.holder, None)
        self._delivered -= body.held.delivery is not None
        started = self._started.pop(body.held.holder)
        duration_ms = self._session.clock.monotonic() - started
        self._telemetry.finished(body.id, body.function, ending.value, duration_ms)
        self._failpoints.reach(f"body.{ending.value}")
        if body.held.delivery is not None:
            self._session.broker.ack([body.held.delivery])

    def _lost(self, queue: str) -> None:
        """The channel is gone, and with it every lease under a delivery of that queue."""
        self._dead.lost(queue)
        for holder, delivery in list(self._acquiring.items()):
            if delivery.queue == queue:
                del self._acquiring[holder]
        self._kept = {delivery for delivery in self._kept if delivery.queue != queue}
        for body in list(self._bodies.values()):
            if body.held.delivery is not None and body.held.delivery.queue == queue:
                body.drop()
        if self._consuming:
            self._session.later(CONSUME_AGAIN_MS, self._consume_again)

    def _consume_again(self) -> None:
        if self._consuming:
            self._consume()

    def _return_later(self, task_id: str, delivery: Delivery) -> None:
        """Keep a delivery before it goes back: a returned message comes again at once."""
        wait_ms = self._returning.get(task_id, RETURN_FIRST_MS)
        self._returning[task_id] = min(2 * wait_ms, RETURN_LONGEST_MS)
        self._kept.add(delivery)

        def give_back() -> None:
            if delivery in self._kept:
                self._kept.discard(delivery)
                self._session.broker.give_back(delivery)

        self._session.later(wait_ms, give_back)

    def _watch(self, body: Body) -> None:
        """Park a body that waits for longer than `park_after`; at once while stopping.

        A body without a delivery is parked only if we consume what would resume it.
        """
        if body.waiting_since is None or not (self._consuming or body.held.delivery):
            return
        left_ms = body.waiting_since + round(self._settings.park_after * 1000)
        left_ms -= self._session.clock.monotonic()
        if left_ms <= 0 or not self._consuming:
            body.park()
        elif body.watch is None:
            body.watch = self._session.later(left_ms, lambda: self._look_again(body))

    def _look_again(self, body: Body) -> None:
        body.watch = None
        self._watch(body)

    def _park_longest_waiting(self, most: int) -> None:
        waiting = [
            body
            for body in self._bodies.values()
            if body.waiting_since is not None and body.held.delivery is not None
        ]
        waiting.sort(key=lambda body: body.waiting_since or 0)
        for body in waiting[:most]:
            body.park()


def _released(held: Held, delay_ms: int) -> TaskRelease:
    return TaskRelease(id=held.promise.id, version=held.version, holder=held.holder, delay=delay_ms)


def _nothing() -> None:
    return


def _ignore(_reply: Reply | ResonateError) -> None:
    return
