"""A whole system on one thread: ledger, workers and a caller, their time and their luck seeded.

In every round each actor takes one turn, in random order. While `rough`, messages are dropped,
doubled and delayed, connections are cut, channels lost, and processes die and are replaced; some
leaves take longer than a delivery may be held.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from resonate_amqp.brokers.faults import Fate
from resonate_amqp.brokers.memory import MemoryBroker
from resonate_amqp.core import machine
from resonate_amqp.core.batch import Batch, Outcome
from resonate_amqp.core.effects import Limits
from resonate_amqp.core.invariants import check_state
from resonate_amqp.core.model import ORIGIN, PARENT, SCOPE, TARGET, Promise, TaskState
from resonate_amqp.core.requests import (
    PromiseCreate,
    Query,
    TaskFence,
    TaskFulfill,
    TaskLease,
    TaskRelease,
    TaskSuspend,
)
from resonate_amqp.errors import ResonateError
from resonate_amqp.ledgers.memory import MemoryLedger
from resonate_amqp.ports import ConsumerLost
from resonate_amqp.resonate.machine import Loop, NoFailpoints
from resonate_amqp.runtime.branches import hosting
from resonate_amqp.runtime.registry import Registry
from resonate_amqp.runtime.session import Session
from resonate_amqp.runtime.worker import Worker
from resonate_amqp.server.service import LedgerService
from resonate_amqp.server.terms import Terms
from resonate_amqp.settings import Settings
from resonate_amqp.telemetry.logs import LogTelemetry
from resonate_amqp.wire.address import any_queue
from resonate_amqp.wire.codec import encode_call, result_of
from resonate_amqp.wire.envelope import Reply
from tests.server.desk import HandClock, Seeded

ROUGH_ROUNDS = 120
MOST_ROUNDS = 4_000
SETTINGS = Settings(group="g", prefetch=4, park_after=2.0, hold_max=3.0, request_timeout=30)
WORK = any_queue("g")
LONGEST_LEAF_MS = 9_000
AFTERWARDS_MS = 200_000
"""By then every lease that nobody holds any more has ended."""

Held = TaskFence | TaskSuspend | TaskFulfill | TaskRelease | TaskLease


class WatchedLedger(MemoryLedger):
    """Fails when a settled promise changes, or somebody writes under a lease that he has not."""

    def apply(self, batch: Batch, clock: int) -> Outcome:
        before = {p.id: p for p in self.promises.values() if not p.pending}
        self._watch(batch, max(self.now, clock))
        outcome = super().apply(batch, clock)
        for promise_id, was in before.items():
            now = self.promises[promise_id]
            assert (now.state, now.value, now.settled_at) == (was.state, was.value, was.settled_at)
        return outcome

    def _watch(self, batch: Batch, now: int) -> None:
        """Run a batch aside, a request at a time, and look at what each of them writes."""
        rest = (batch.timers, batch.notified, batch.mirrored, batch.halts)
        state = self._overlay()
        machine.batch(state, (), *rest, now, batch.heard_since)
        for group in batch.groups:
            for step in group.steps:
                assert not isinstance(step, Query)
                task = state.task(step.id) if isinstance(step, Held) else None
                before = dict(state.promises), dict(state.tasks)
                response = machine.transition(state, step, now, group.id)
                if isinstance(step, Held) and (state.promises, state.tasks) != before:
                    assert task is not None
                    held = (task.state, task.version, task.holder)
                    assert held == (TaskState.ACQUIRED, step.version, step.holder), step
                if not response.ok:
                    break


class Postponed:
    """An executor whose leaves, and turns of `async def` bodies, run when the stage lets them."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.waiting: list[tuple[int, Callable[[], None]]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def may_wait(self, settled: Future[Any]) -> bool:
        return True

    def submit(
        self,
        work: Callable[[], Any],
        done: Callable[[Any, BaseException | None], None],
        *,
        is_async: bool,
    ) -> None:
        def run() -> None:
            try:
                value = self._await(work()) if is_async else work()
            except Exception as error:
                done(None, error)
            else:
                done(value, None)

        self.waiting.append((self._stage.clock.passed + self._stage.lasts(), run))

    def close(self) -> None:
        self.waiting.clear()
        if self._loop is not None:
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            if left:
                self._loop.run_until_complete(asyncio.wait(left))
            self._loop.close()
            self._loop = None

    def _await(self, awaitable: Any) -> Any:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            hosting(self._loop)
        return self._loop.run_until_complete(awaitable)

    def due(self) -> int | None:
        """When the next of them may run."""
        return min((at for at, _ in self.waiting), default=None)

    def run_some(self, chance: random.Random) -> bool:
        """Run some of what may run; answers whether there was anything."""
        now = self._stage.clock.passed
        able = [one for one in self.waiting if one[0] <= now]
        for one in able:
            if chance.random() < 0.7:
                self.waiting.remove(one)
                one[1]()
        return bool(able)


class Actor:
    """One process: a connection, its loop, and the leaves it runs."""

    def __init__(self, stage: Stage, kind: str) -> None:
        self.kind = kind
        self.connection = stage.broker.connect()
        self.executor = Postponed(stage)
        self.down_until = 0
        self.loop: Loop
        self.worker: Worker | None = None
        if kind == "ledger":
            self.loop = LedgerService(
                stage.ledger,
                self.connection,
                stage.clock,
                stage.random,
                NoFailpoints(),
                terms=Terms(queue_type="classic"),
            )
            return
        pid = stage.random.token()
        self.session = Session(self.connection, stage.clock, stage.random, group=kind, pid=pid)
        self.loop = self.session
        if kind == "g":
            self.worker = Worker(
                self.session,
                stage.registry,
                self.executor,
                LogTelemetry(),
                NoFailpoints(),
                SETTINGS,
                {"ran": stage.ran},
            )
            self.worker.start()

    def check_deliveries(self) -> None:
        """Nobody goes on under a delivery that is lost, and none is held by nobody.

        A lease that is being moved may have outlived its delivery.
        """
        if self.worker is None or self.connection._events:
            return
        held = {id(handle) for handle in self.connection._unacked.values()}
        bodies: set[int] = set()
        moving: set[int] = set()
        for body in self.worker._bodies.values():
            if body.held.delivery is not None:
                (moving if body.moving else bodies).add(id(body.held.delivery.handle))
        waiting = {id(delivery.handle) for delivery in self.worker._doorstep.deliveries()}
        assert bodies | waiting <= held, "a delivery that is lost is made use of"
        assert held <= bodies | moving | waiting, "a delivery is held by nobody"


class Stage:
    """`call` and then `play` until it is answered."""

    def __init__(self, seed: int, registry: Registry, *, rough: bool) -> None:
        self.chance = random.Random(seed)
        self.random = Seeded(seed)
        self.rough = rough
        self.clock = HandClock()
        self.broker = MemoryBroker(self._fate if rough else None)
        self.ledger = WatchedLedger(Limits(max_deliveries=10_000))
        self.registry = registry
        self.ran: Counter[str] = Counter()
        self.rounds = 0
        self.story: list[str] = []
        self.outcome: Promise | ResonateError | None = None
        ledger = Actor(self, "ledger")
        ledger.loop.turn(ledger.connection.poll(0))
        self.actors = [ledger, *(Actor(self, kind) for kind in ("g", "g", "caller"))]

    def call(self, func: str, *args: Any) -> None:
        """Call a function durably, from the caller's process."""
        session = next(actor.session for actor in self.actors if actor.kind == "caller")
        create = PromiseCreate(
            id="root",
            timeout_at=self.clock.now() + 3_600_000,
            param=encode_call(func, 1, args, {}),
            tags={ORIGIN: "root", PARENT: "root", SCOPE: "global", TARGET: "poll://any@g"},
        )

        def recorded(reply: Reply | ResonateError) -> None:
            assert isinstance(reply, Reply)
            session.listeners.add("root", self._heard, registered=False)

        session.calls.send([create], recorded, about="root")

    def play(self) -> Any:
        """Take rounds until the call is answered; answers its result."""
        while self.outcome is None:
            assert self.rounds < MOST_ROUNDS, f"no end; {self._standing()}"
            self.rounds += 1
            rough = self.rough and self.rounds < ROUGH_ROUNDS
            if rough:
                self._disturb()
            else:
                self.rough = False
                self.broker.release()
            self._round()
        assert isinstance(self.outcome, Promise), self.outcome
        return result_of(self.outcome)

    def lasts(self) -> int:
        """How long a leaf takes: mostly no time, in a rough time now and then very long."""
        if not self.rough or self.chance.random() < 0.8:
            return 0
        return self.chance.randrange(LONGEST_LEAF_MS)

    def live(self, milliseconds: int) -> None:
        """Let time pass, whether or not the call is answered."""
        until = self.clock.passed + milliseconds
        while self.clock.passed < until:
            self._round()

    def close(self) -> None:
        """Let go of every coroutine."""
        for actor in self.actors:
            actor.executor.close()

    def check(self) -> None:
        """What must hold of the records, however they came about."""
        ledger = self.ledger
        violations = check_state(ledger.promises, ledger.tasks, ledger.offers)
        assert not violations, violations

    def check_nothing_left(self) -> None:
        """Some time after the end nobody holds, waits for, or keeps a slot for anything."""
        self.live(AFTERWARDS_MS)
        self.check()
        states = {task.state for task in self.ledger.tasks.values()}
        assert states == {TaskState.FULFILLED}, self._standing()
        assert self.broker.depth(WORK) == 0
        for actor in self.actors:
            if actor.worker is not None:
                assert not actor.worker.busy()
                assert actor.connection._unacked == {}
                assert (actor.worker._slots_taken, actor.worker._moved) == (0, 0)

    def _round(self) -> None:
        busy = False
        for actor in self.chance.sample(self.actors, len(self.actors)):
            if actor.down_until and actor.down_until <= self.clock.passed:
                actor.down_until = 0
                actor.connection.reconnect()
            busy |= actor.executor.run_some(self.chance)
            events = actor.connection.poll(0)
            busy |= bool(events)
            actor.loop.turn(events)
            actor.check_deliveries()
            self.story.append(f"{self.clock.passed} {actor.kind} {len(events)}")
        waits = [actor.loop.idle_ms() for actor in self.actors]
        waits += [a.down_until - self.clock.passed for a in self.actors if a.down_until]
        ends = [actor.executor.due() for actor in self.actors]
        waits += [due - self.clock.passed for due in ends if due is not None]
        self.clock.passed += self.chance.randrange(3) if busy else max(1, min(waits))

    def _fate(self, _queue: str, _body: bytes, persistent: bool) -> Fate:
        if not self.rough:
            return Fate.DELIVER
        luck = self.chance.random()
        if luck < 0.08:
            return Fate.DUPLICATE
        if luck < 0.16:
            return Fate.DELAY
        return Fate.DROP if luck < 0.26 and not persistent else Fate.DELIVER

    def _disturb(self) -> None:
        luck = self.chance.random()
        actor = self.chance.choice(self.actors)
        if luck < 0.05 and not actor.down_until:
            actor.connection.cut()
            actor.down_until = self.clock.passed + self.chance.randrange(1, 1_500)
        elif luck < 0.10 and actor.kind != "caller":
            actor.connection.close()
            actor.executor.close()
            self.actors[self.actors.index(actor)] = Actor(self, actor.kind)
        elif luck < 0.20:
            self.broker.release()
        elif luck < 0.24 and actor.kind == "g" and not actor.down_until:
            actor.connection.cut()
            actor.connection.reconnect()
        elif luck < 0.27 and actor.kind == "g" and not actor.down_until:
            actor.connection.leave(WORK)
            actor.connection.push(ConsumerLost(WORK, "the channel was closed"))

    def _heard(self, outcome: Promise | ResonateError) -> None:
        self.outcome = outcome

    def _standing(self) -> dict[str, str]:
        return {task.id: str(task) for task in self.ledger.tasks.values()}
