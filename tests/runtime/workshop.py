"""A ledger and workers turned by hand under a clock set by hand; leaves end when they are told to.

Nothing happens by itself: `rest` works off what can happen now, `pass_time` lets time pass and
works off what becomes due on the way. What travels can be seen, held back and lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from resonate_amqp.brokers.faults import Fate
from resonate_amqp.core.effects import Limits
from resonate_amqp.core.invariants import check_state
from resonate_amqp.core.model import ORIGIN, PARENT, SCOPE, TARGET, Promise, Task, TaskState
from resonate_amqp.core.requests import Group, PromiseCreate, Request
from resonate_amqp.ledgers.memory import MemoryLedger
from resonate_amqp.resonate.machine import NoFailpoints
from resonate_amqp.runtime.context import Context
from resonate_amqp.runtime.registry import Registry
from resonate_amqp.runtime.session import Session
from resonate_amqp.runtime.worker import Worker
from resonate_amqp.server.intake import PROBE
from resonate_amqp.server.intake import REPLIES as ANSWERS
from resonate_amqp.settings import Settings
from resonate_amqp.telemetry.logs import LogTelemetry
from resonate_amqp.wire.address import any_queue
from resonate_amqp.wire.codec import encode_call, result_of
from resonate_amqp.wire.envelope import decode_requests
from tests.server.desk import LEDGER, Office, Seeded

GROUP = "g"
MOST_ROUNDS = 2_000
DAY_MS = 86_400_000
REPLIES = "resonate.reply."


@dataclass(slots=True, eq=False)
class Leaf:
    """A leaf that was submitted and has not ended."""

    promise_id: str
    work: Callable[[], Any]
    done: Callable[[Any, BaseException | None], None]

    def end(self) -> None:
        """Run the function and tell how it ended."""
        try:
            value = self.work()
        except BaseException as error:
            self.done(None, error)
        else:
            self.done(value, None)


class Bench:
    """An executor whose leaves end at once, or, of the functions in `slow`, when they are told."""

    def __init__(self) -> None:
        self.slow: set[str] = set()
        self.running: list[Leaf] = []
        self.began: Counter[str] = Counter()

    def may_wait(self, settled: Future[Any]) -> bool:
        return True

    def submit(
        self,
        work: Callable[[], Any],
        done: Callable[[Any, BaseException | None], None],
        *,
        is_async: bool,
    ) -> None:
        function, _, promise_id = work.__qualname__.partition(" as ")
        self.began[promise_id] += 1
        leaf = Leaf(promise_id, work, done)
        if function in self.slow:
            self.running.append(leaf)
        else:
            leaf.end()

    def end(self, promise_id: str) -> None:
        """Let the oldest leaf of this promise end."""
        leaf = next(leaf for leaf in self.running if leaf.promise_id == promise_id)
        self.running.remove(leaf)
        leaf.end()

    def close(self) -> None:
        self.running.clear()


class Hand:
    """One worker process, which takes its turns here."""

    def __init__(self, workshop: Workshop, pid: str, settings: Settings) -> None:
        self._workshop = workshop
        self.pid = pid
        self.connection = workshop.office.broker.connect()
        self.bench = Bench()
        self.bench.slow = {"slow"}
        clock, seeded = workshop.office.clock, workshop.random
        self.session = Session(self.connection, clock, seeded, group=GROUP, pid=pid)
        self.worker = Worker(
            self.session,
            workshop.registry,
            self.bench,
            LogTelemetry(),
            NoFailpoints(),
            settings,
            {},
        )
        self.asleep = False
        self.worker.start()

    def turn(self) -> bool:
        """One turn; answers whether anything had happened."""
        if self.asleep:
            return False
        events = self.connection.poll(0)
        busy = bool(events) or self.session.idle_ms() == 0
        self.session.turn(events)
        return busy

    def die(self) -> None:
        """`kill -9`."""
        self.connection.close()
        self.bench.close()
        self.asleep = True
        self._workshop.hands.remove(self)

    def cut(self) -> None:
        """Lose both connections, and be back at once."""
        self.connection.cut()
        self.connection.reconnect()

    @property
    def unacked(self) -> int:
        """How many deliveries it holds."""
        return len(self.connection._unacked)


class Workshop:
    """One ledger, and the workers of one group, which know the functions of `registry`."""

    def __init__(
        self,
        *functions: Callable[..., Any],
        max_deliveries: int = 10,
        ledger: MemoryLedger | None = None,
        **settings: Any,
    ) -> None:
        self.hands: list[Hand] = []
        self.sent: list[Group] = []
        self.lost: Callable[[str, bytes], bool] = lambda _queue, _body: False
        self.frozen = False
        self.office = Office(self._fate)
        self.random = Seeded(7)
        self.ledger = ledger or MemoryLedger(Limits(max_deliveries))
        self.desk = self.office.service(self.ledger)
        self.client = self.office.client()
        self.registry = Registry()
        for function in (quick, slow, *functions):
            self.registry.register(function)
        self.settings = Settings(group=GROUP, queue_type="classic", **settings)

    def hire(self, pid: str = "p1") -> Hand:
        """A worker that knows the ledger's time already, because the ledger has answered it."""
        hand = Hand(self, pid, self.settings)
        self.hands.append(hand)
        self.rest()
        hand.session.listeners.add("nothing", lambda _outcome: None, registered=False)
        self.rest()
        self.sent.clear()
        return hand

    def call(
        self, function: str, *args: Any, promise_id: str = "r", timeout_ms: int = 10_000_000
    ) -> None:
        """Have a function called, without a turn of any worker."""
        tags = {
            ORIGIN: promise_id,
            PARENT: promise_id,
            SCOPE: "global",
            TARGET: f"poll://any@{GROUP}",
        }
        create = PromiseCreate(
            id=promise_id,
            timeout_at=self.office.clock.now() + DAY_MS,
            param=encode_call(function, 1, args, {}),
            tags=tags,
        )
        self.ask(create)

    def ask(self, request: Request) -> None:
        """Have the ledger answer somebody else, without a turn of any worker."""
        seen = len(self.sent)
        assert self.client.ask(self.desk, request).ok
        del self.sent[seen:]

    def rest(self) -> None:
        """Work off what can happen at this instant."""
        quiet = 0
        for _ in range(MOST_ROUNDS):
            if not self.frozen:
                self.desk.work()
            turned = [hand.turn() for hand in list(self.hands)]
            quiet = 0 if any(turned) else quiet + 1
            if quiet == 2:
                return
        raise AssertionError("the workshop never comes to rest")

    def pass_time(self, milliseconds: int) -> None:
        """Let time pass and work off what becomes due."""
        clock = self.office.clock
        until = clock.passed + milliseconds
        self.rest()
        while clock.passed < until:
            waits = [hand.session.idle_ms() for hand in self.hands if not hand.asleep]
            waits.append(self.desk.service.idle_ms())
            clock.passed += min(max(1, min(waits)), until - clock.passed)
            self.rest()

    @contextmanager
    def without_ledger(self) -> Iterator[None]:
        """The ledger takes no turn; what is sent to it waits."""
        self.frozen = True
        yield
        self.frozen = False

    @contextmanager
    def without_replies(self) -> Iterator[None]:
        """Nothing that the ledger answers arrives."""
        self.lost = lambda queue, _body: queue.startswith(REPLIES)
        yield
        self.lost = lambda _queue, _body: False

    def kinds(self) -> list[list[str]]:
        """The kinds of the requests of every group that was sent since the last time."""
        sent, self.sent = self.sent, []
        return [[step.kind for step in group.steps] for group in sent]

    def task(self, promise_id: str = "r") -> Task:
        return self.ledger.tasks[promise_id]

    def state(self, promise_id: str = "r") -> TaskState:
        return self.task(promise_id).state

    def promise(self, promise_id: str = "r") -> Promise:
        return self.ledger.promises[promise_id]

    def result(self, promise_id: str = "r") -> Any:
        return result_of(self.promise(promise_id))

    def queued(self) -> int:
        """How many executes wait in the group's queue and are held by nobody."""
        return self.office.broker.depth(any_queue(GROUP))

    def check(self) -> None:
        """What must hold at the end: every record in order, and no message left anywhere."""
        ledger = self.ledger
        assert check_state(ledger.promises, ledger.tasks, ledger.offers) == []
        assert {task.state for task in ledger.tasks.values()} <= {
            TaskState.FULFILLED,
            TaskState.HALTED,
        }
        assert self.queued() == 0
        assert [hand.unacked for hand in self.hands] == [0] * len(self.hands)

    def _fate(self, queue: str, body: bytes, _persistent: bool) -> Fate:
        if self.lost(queue, body):
            return Fate.DROP
        if queue == LEDGER and body != PROBE and not body.startswith(ANSWERS):
            self.sent += [one for one in decode_requests(body) if isinstance(one, Group)]
        return Fate.DELIVER


def quick(_ctx: Context, number: int = 1) -> int:
    """A leaf that ends at once."""
    return 2 * number


def slow(_ctx: Context, number: int = 1) -> int:
    """A leaf that ends when its bench is told."""
    return 2 * number
