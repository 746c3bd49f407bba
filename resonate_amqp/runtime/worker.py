"""Worker: takes offered tasks from its queues, runs their bodies, and lets go of deliveries.

An unacknowledged delivery is the lease. It is acknowledged only when the ledger has recorded how
the body left: settled, suspended, released, halted, gone on under a TTL lease; or when the ledger
says that the delivery is void. When the consuming channel is lost, so are its leases, and every
body under them is dropped, but for a leaf that runs.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from resonate_amqp.core.model import Promise, PromiseState, TaskState
from resonate_amqp.core.requests import (
    PromiseSettle,
    Request,
    Response,
    TaskAcquire,
    Verdict,
)
from resonate_amqp.errors import Encoding, Malformed, ResonateError
from resonate_amqp.ports import (
    Confirmed,
    Delivery,
    Event,
    Executor,
    Failpoint,
    Failpoints,
    Telemetry,
    Unconfirmed,
)
from resonate_amqp.runtime.body import Body
from resonate_amqp.runtime.children import Family
from resonate_amqp.runtime.claims import Claim, Claims
from resonate_amqp.runtime.deadletters import DeadLetters
from resonate_amqp.runtime.doorstep import Arrived, Doorstep
from resonate_amqp.runtime.early import Early
from resonate_amqp.runtime.ending import Ending
from resonate_amqp.runtime.held import Held
from resonate_amqp.runtime.leaves import Leaves
from resonate_amqp.runtime.orphans import Orphans
from resonate_amqp.runtime.parking import Parking
from resonate_amqp.runtime.queues import Queues
from resonate_amqp.runtime.refresh import Refresh
from resonate_amqp.runtime.registry import Registered, Registry
from resonate_amqp.runtime.replay import Replay
from resonate_amqp.runtime.session import Session
from resonate_amqp.settings import Settings
from resonate_amqp.wire.codec import decode_call, encode_error
from resonate_amqp.wire.envelope import ExecuteMessage, Reply, decode_execute

log = logging.getLogger(__name__)

UNKNOWN_FIRST_MS = 1_000
UNKNOWN_LONGEST_MS = 60_000


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
        self._queues = Queues(session, settings)
        self._bodies: dict[str, Body] = {}
        self._started: dict[str, int] = {}
        self._touched: dict[str, Body] = {}
        self._doorstep = Doorstep(session)
        self._early = Early(session, registry, self._doorstep)
        self._orphans = Orphans(session)
        self.dead = DeadLetters(session)
        self._refresh = Refresh(session, self._bodies, settings.refresh)
        self._parking = Parking(session, self._bodies, settings, self._swept)
        self.claims = Claims(session, self.adopt)
        self._slots_taken = self._moved = 0
        session.attach(self)

    def start(self) -> None:
        """Take tasks from now on."""
        if not self._queues.consuming:
            serving = (self._session.group, self._session.pid, self._registry.listing())
            log.info("group %s is served by %s: %s", *serving)
        self._queues.start()

    def stop_taking(self) -> None:
        """Take no more, and park whatever can be parked."""
        log.info("no more tasks are taken; %d bodies are left", len(self._bodies))
        self._queues.stop()
        self._doorstep.return_waiting()
        self._parking.stop()

    def give_up(self) -> None:
        """Release the TTL leases; deliveries go back with the connection."""
        for body in list(self._bodies.values()):
            if body.held.delivery is None:
                body.release(0)

    def busy(self) -> bool:
        return bool(self._bodies or self._doorstep.busy)

    def take(self, event: Event) -> None:
        lost = self._queues.take(event)
        if lost:
            self._lost(lost)
        match event:
            case Delivery():
                self._offered(event)
            case Confirmed(tokens=tokens):
                self.dead.confirmed(tokens)
            case Unconfirmed(tokens=tokens):
                self.dead.unconfirmed(tokens)
            case _:
                pass

    def flush(self) -> None:
        """Let every body that learned something go on, then make room if it is needed."""
        while self._touched:
            holder, body = self._touched.popitem()
            if holder in self._bodies:
                body.flush()
                self._parking.consider(body)
        self._start_waiting()
        self.claims.begin(self._settings.prefetch - self._in_use())
        self._parking.make_room(self._in_use() + self._doorstep.waiting() + self.claims.waiting)

    def adopt(
        self,
        promise: Promise,
        version: int,
        holder: str,
        response: Response,
        claim: Claim | None = None,
    ) -> None:
        """Run a task that this process created and acquired under a TTL lease."""
        held = Held(promise, version, holder, None, self._session.clock.monotonic(), claim=claim)
        if self._run(held, response.preload, not response.more) is None and claim is not None:
            self.claims.left(claim, Ending.RELEASED, None)

    def _in_use(self) -> int:
        return self._slots_taken + self._orphans.slots() + len(self._doorstep) + len(self.claims)

    def _offered(self, delivery: Delivery) -> None:
        self._failpoints.reach(Failpoint.EXECUTE_DELIVERED)
        if not self._queues.consuming:
            self._session.broker.give_back(delivery)
            return
        arrived = Arrived(delivery, self._session.clock.monotonic())
        room = self._in_use() < self._settings.prefetch or self._orphans.expect(delivery)
        if room and self._session.broker.connected():
            self._begin(arrived)
        else:
            self._doorstep.wait(arrived)
            self._parking.arm()

    def _start_waiting(self) -> None:
        """Begin what waits, as far as there are slots; what an orphan waits for has one."""
        if not (self._doorstep.waiting() and self._session.broker.connected()):
            return
        if self._orphans:
            for arrived in self._doorstep.take(self._orphans.expect):
                self._begin(arrived)
        while self._in_use() < self._settings.prefetch:
            next_one = self._doorstep.next()
            if next_one is None:
                return
            self._begin(next_one)

    def _begin(self, arrived: Arrived) -> None:
        """Ask for the task of a delivery, and start its body meanwhile if that is safe."""
        delivery = arrived.delivery
        try:
            message = decode_execute(delivery.body)
        except Malformed as error:
            self.dead.add(delivery, str(error))
            return
        if self._early.under_way(message.promise.id):
            self._early.hold(message, delivery)
            return
        holder = self._session.random.token()
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
        if self._early.allows(message, delivery):
            version = message.version + 1
            held = Held(message.promise, version, holder, delivery, arrived.at, step)
            body = self._run(held, (), complete=True)
            if body is not None:
                self._early.add(body)
            return
        group = self._session.calls.send(
            [step], lambda reply: self._acquired(message, holder, reply), about=message.promise.id
        )
        self._doorstep.ask(holder, arrived, group)
        self._parking.arm()

    def _acquired(self, message: ExecuteMessage, holder: str, reply: Reply | ResonateError) -> None:
        arrived = self._doorstep.answered(holder)
        if arrived is None or isinstance(reply, ResonateError):
            return
        delivery = arrived.delivery
        response = reply.responses[0]
        self._failpoints.reach(Failpoint.ACQUIRE_ANSWERED)
        # Not acquired: it was, and has ended before this copy of the answer was asked for.
        if response.task is not None and response.ok and response.task.state is TaskState.ACQUIRED:
            self._doorstep.begun(message.promise.id)
            version = response.task.version
            held = Held(message.promise, version, holder, delivery, arrived.at)
            if not self._queues.consuming:
                self._settle_unrun(held, held.release(0))
            elif not self._adopted(held, response):
                deliveries = response.task.deliveries
                self._run(held, response.preload, not response.more, deliveries)
        elif response.verdict is Verdict.RETURN or response.status in (400, 500):
            self._doorstep.keep(message.promise.id, delivery)
        else:
            log.info("%s", response.error)
            self._orphans.drop(message.promise.id)
            self._session.broker.ack([delivery])

    def _adopted(self, held: Held, response: Response) -> bool:
        """Whether a body that lost its lease goes on under the new one."""
        for former in [body for body in self._bodies.values() if body.id == held.id]:
            if former.held.delivery is not None:
                self._session.broker.ack([former.held.delivery])
            self._orphan(former)
        body = self._orphans.take(held, response.preload)
        if body is None:
            return False
        log.info("%s goes on where it is: its task came back to this process", held.id)
        started = self._started.pop(body.held.holder, self._session.clock.monotonic())
        body.adopt(held, response.preload)
        self._enter(body, started)
        return True

    def _run(
        self, held: Held, preload: tuple[Promise, ...], complete: bool, deliveries: int = 0
    ) -> Body | None:
        promise = held.promise
        try:
            call = decode_call(promise.param)
        except Encoding as error:
            self._reject(held, error)
            return None
        function = self._registry.find(call.func, call.version)
        group, timeout_s = self._session.group, self._settings.timeout
        family = Family(promise.id, group, self._registry, timeout_s, held.steps)
        if function is None:
            self._release_unknown(held, call.func, call.version, deliveries)
            return None
        replay = Replay(promise, function, call, family, self._leaves.context)
        body = self._body(held, function, replay)
        self._telemetry.started(promise.id, function.name, function.version)
        body.start(preload, complete)
        return body

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
            self._let_go,
            self._ended,
        )
        self._enter(body, self._session.clock.monotonic())
        return body

    def _enter(self, body: Body, started: int) -> None:
        self._bodies[body.held.holder] = body
        self._started[body.held.holder] = started
        self._slots_taken += body.held.slot
        self._refresh.arm(ttl=body.held.delivery is None)
        self._parking.arm()

    def _release_unknown(self, held: Held, name: str, version: int, deliveries: int) -> None:
        """Nobody here can run it: offer it again later, ever later, until it is halted."""
        delay_ms = min(UNKNOWN_FIRST_MS << min(deliveries, 16), UNKNOWN_LONGEST_MS)
        registered = ", ".join(self._registry.names()) or "none"
        lack = (
            f"function {name!r} version {version} is not registered in group "
            f"{self._session.group!r} (registered: {registered})"
        )
        log.error("%s: %s; offered again in %d ms", held.id, lack, delay_ms)
        self._settle_unrun(held, held.release(delay_ms, unknown=lack))

    def _reject(self, held: Held, error: Encoding) -> None:
        """Nobody can read the call: its promise is rejected with the reason."""
        settle = PromiseSettle(id=held.id, state=PromiseState.REJECTED, value=encode_error(error))
        self._settle_unrun(held, held.fulfill(settle))

    def _settle_unrun(self, held: Held, step: Request) -> None:
        delivery = held.delivery
        if delivery is None:
            self._session.calls.send([step], lambda _reply: None, about=held.id)
            return

        def answered(reply: Reply | ResonateError) -> None:
            if self._doorstep.answered(held.holder) is None or isinstance(reply, ResonateError):
                return
            if reply.responses[0].status in (400, 500):
                self._doorstep.keep(held.id, delivery)
            else:
                self._session.broker.ack([delivery])

        group = self._session.calls.send([step], answered, about=held.id)
        self._doorstep.ask(held.holder, Arrived(delivery, held.since), group)

    def _swept(self, hold_max_ms: int) -> None:
        self._doorstep.return_older(hold_max_ms)
        self._orphans.sweep()
        if self._doorstep.waiting() or self._doorstep.busy or self._orphans:
            self._parking.arm()

    def _touch(self, body: Body) -> None:
        self._touched[body.held.holder] = body

    def _let_go(self, body: Body, delivery: Delivery) -> None:
        """A body went on under a TTL lease: its delivery is void, and its slot stays taken."""
        self._session.broker.ack([delivery])
        self._moved += 1
        self._limit()
        self._refresh.arm(ttl=True)

    def _ended(self, body: Body, ending: Ending) -> None:
        """A body has left: its outcome is recorded or void, so its delivery can go."""
        self._early.ended(body)
        duration_ms = self._session.clock.monotonic() - self._started.pop(body.held.holder)
        self._telemetry.finished(body.id, body.function, ending.value, duration_ms)
        if body.held.claim is not None:
            self.claims.left(body.held.claim, ending, body.settled)
        if self._bodies.pop(body.held.holder, None) is None:
            return
        delivery = body.held.delivery
        self._slots_taken -= body.held.slot or body.moved
        if body.moved:
            self._moved -= 1
            self._limit()
        if delivery is not None and ending is Ending.RETURNED and not body.held.void:
            self._doorstep.keep(body.id, delivery)
        elif delivery is not None:
            self._session.broker.ack([delivery])

    def _limit(self) -> None:
        """Leaves on a TTL lease keep their slots: the broker may send so many fewer."""
        self._queues.limit(max(0, self._settings.prefetch - self._moved))

    def _lost(self, queue: str) -> None:
        """The channel is gone, and with it every lease under a delivery of that queue.

        Whether one that is being moved was lost as well, the ledger's answer tells.
        """
        self.dead.lost(queue)
        self._doorstep.lost(queue)
        for body in list(self._bodies.values()):
            delivery = body.held.delivery
            if delivery is not None and delivery.queue == queue:
                body.held.void = True
                if not body.moving:
                    self._orphan(body)

    def _orphan(self, body: Body) -> None:
        """The lease of a body is lost: what a leaf of it does or did may be of use yet."""
        moved = body.moved
        if not body.orphan():
            body.drop()
            return
        del self._bodies[body.held.holder]
        self._slots_taken -= body.held.slot or moved
        if moved:
            self._moved -= 1
            self._limit()
        self._orphans.add(body)
        self._early.ended(body)
        self._parking.arm()
