"""A ledger service turned by hand, its clock set by hand, and a client that asks it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import msgspec

from resonate_amqp.brokers.faults import Fate, Faults
from resonate_amqp.brokers.memory import MemoryBroker, MemoryConnection
from resonate_amqp.core.requests import Group, Query, Request, Response
from resonate_amqp.ledgers.memory import MemoryLedger
from resonate_amqp.ports import Delivery, Ledger, Unconfirmed
from resonate_amqp.resonate.machine import NoFailpoints
from resonate_amqp.server.service import LedgerService
from resonate_amqp.server.terms import Terms
from resonate_amqp.wire.address import DEAD_QUEUE, EXCHANGE, ledger_queue, shard_key
from resonate_amqp.wire.envelope import (
    ExecuteMessage,
    Replies,
    Reply,
    decode_execute,
    decode_replies,
    encode_group,
    encode_requests,
)
from resonate_amqp.wire.properties import PLAIN, Properties
from resonate_amqp.wire.topology import Queue, reply_queue, target_queue

START = 1_700_000_000_000
LEDGER = ledger_queue(0)
MOST_TURNS = 2_000


class HandClock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.passed = 0

    def now(self) -> int:
        return START + self.passed

    def monotonic(self) -> int:
        return 50_000 + self.passed


class Behind:
    """A clock that agrees with another about how time passes, and is behind by so much."""

    def __init__(self, other: HandClock, by: int) -> None:
        self._other = other
        self._by = by

    def now(self) -> int:
        return self._other.now() - self._by

    def monotonic(self) -> int:
        return self._other.monotonic()


class Seeded:
    """Randomness that is the same in every run."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def token(self) -> str:
        return f"{self._random.getrandbits(64):016x}"


class Unsure(MemoryConnection):
    """A connection whose broker refuses so many persistent publishes.

    While `mute`, what is published goes nowhere, and nobody says so.
    """

    refusals = 0
    mute = False
    blocked = False

    def connected(self) -> bool:
        return super().connected() and not self.blocked

    def publish(
        self,
        key: str,
        body: bytes,
        *,
        exchange: str = "",
        persistent: bool = False,
        mandatory: bool = False,
        token: int = 0,
        reply_to: str = "",
        properties: Properties = PLAIN,
    ) -> None:
        if self.mute:
            return
        if token and persistent and self.refusals:
            self.refusals -= 1
            self.push(Unconfirmed((token,)))
            return
        super().publish(
            key,
            body,
            exchange=exchange,
            persistent=persistent,
            mandatory=mandatory,
            token=token,
            reply_to=reply_to,
            properties=properties,
        )


class Tap:
    """Sees what is put into queues, and lets it pass."""

    def __init__(self) -> None:
        self.passed: list[tuple[str, bytes]] = []

    def __call__(self, queue: str, body: bytes, _persistent: bool) -> Fate:
        self.passed.append((queue, body))
        return Fate.DELIVER


class Office:
    """A broker, and a clock that everybody in it shares."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.clock = HandClock()
        self.broker = MemoryBroker(faults)
        self._random = Seeded()

    def service(
        self, ledger: Ledger | None = None, *, declare: bool = True, behind: int = 0
    ) -> Desk:
        """A service whose wall clock is behind by so much."""
        return Desk(self, ledger or MemoryLedger(), self._random, declare, behind)

    def client(self, name: str = "p1") -> Client:
        return Client(self, name)

    def worker(self, group: str = "a") -> MemoryConnection:
        """A connection that takes the executes of a group."""
        connection = self.broker.connect()
        connection.consume(target_queue(group, "classic"), prefetch=1000)
        return connection

    def tap(self) -> Tap:
        """Everything that is put into a queue from now on."""
        self.broker.faults = tap = Tap()
        return tap

    def dead(self) -> list[dict[str, str]]:
        """The dead letters, oldest first."""
        return [msgspec.json.decode(body) for body in self.broker.bodies(DEAD_QUEUE)]


class Desk:
    """One ledger service; every turn of it is taken here."""

    def __init__(
        self, office: Office, ledger: Ledger, seeded: Seeded, declare: bool, behind: int
    ) -> None:
        self.ledger = ledger
        self.connection = Unsure(office.broker)
        self.clock = office.clock
        self.turns = 0
        self.service = LedgerService(
            ledger,
            self.connection,
            Behind(office.clock, behind),
            seeded,
            NoFailpoints(),
            terms=Terms(queue_type="classic", declare=declare),
        )
        self.work()

    def turn(self) -> None:
        self.turns += 1
        self.service.turn(self.connection.poll(0))

    def work(self) -> None:
        """Turn until there is nothing left to do at this instant."""
        for _ in range(MOST_TURNS):
            self.turn()
            events = self.connection.poll(0)
            for event in events:
                self.connection.push(event)
            if not events and self.service.idle_ms() > 0:
                return
        raise AssertionError("the service never comes to rest")

    def run(self, milliseconds: int) -> None:
        """Let time pass, waking the service as often as it asks for, and at the end."""
        until = self.clock.passed + milliseconds
        self.work()
        while self.clock.passed < until:
            self.clock.passed += min(max(1, self.service.idle_ms()), until - self.clock.passed)
            self.work()


class Client:
    """Asks the ledger and remembers what it is told."""

    def __init__(self, office: Office, name: str) -> None:
        self._office = office
        self._numbers = itertools.count(1)
        self.queue = reply_queue("g", name, "e")
        self.connection = office.broker.connect()
        self.connection.consume(self.queue, prefetch=0, auto_ack=True)
        self.lost: list[Unconfirmed] = []

    @property
    def address(self) -> str:
        return self.queue.name

    def group(self, *steps: Request | Query) -> Group:
        return Group(id=f"{self.address[-3:]}{next(self._numbers)}", steps=steps)

    def send(self, *groups: Group, reply_to: str | None = None) -> None:
        """One message of these groups."""
        body = encode_requests([encode_group(group) for group in groups])
        self.send_raw(body, reply_to)

    def send_raw(self, body: bytes, reply_to: str | None = None) -> None:
        self.connection.publish(
            shard_key("any"),
            body,
            exchange=EXCHANGE,
            mandatory=True,
            reply_to=self.address if reply_to is None else reply_to,
        )

    def heard(self) -> list[Replies]:
        """Every message since the last time."""
        events = self.connection.poll(0)
        self.lost += [event for event in events if isinstance(event, Unconfirmed)]
        return [decode_replies(event.body) for event in events if isinstance(event, Delivery)]

    def replies(self) -> dict[str, Reply]:
        """The answers since the last time, by group."""
        return {reply.id: reply for message in self.heard() for reply in message.replies}

    def ask(self, desk: Desk, *steps: Request | Query) -> Response:
        """The last answer to one group."""
        group = self.group(*steps)
        self.send(group)
        desk.work()
        return self.replies()[group.id].responses[-1]


def executes(connection: MemoryConnection) -> list[ExecuteMessage]:
    """The executes a worker's connection was given since the last time."""
    return [decode_execute(event.body) for event in deliveries(connection)]


def deliveries(connection: MemoryConnection) -> list[Delivery]:
    return [event for event in connection.poll(0) if isinstance(event, Delivery)]


def waiting(office: Office, queues: Sequence[str]) -> dict[str, int]:
    return {queue: office.broker.depth(queue) for queue in queues}


DEAD = Queue(DEAD_QUEUE)
