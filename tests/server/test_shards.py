"""Several ledger queues: each keeps its shards, passes on the rest, and learns of a change."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from resonate_amqp.brokers.memory import MemoryBroker, MemoryConnection
from resonate_amqp.core.model import BRANCH, MIRROR, TARGET, PromiseState, TaskState, shard_of
from resonate_amqp.core.requests import (
    Group,
    Lease,
    PromiseCreate,
    PromiseGet,
    PromiseRegisterCallback,
    Request,
    TaskAcquire,
    TaskFence,
    TaskHeartbeat,
    TaskSearch,
    TaskSuspend,
)
from resonate_amqp.errors import UsageError
from resonate_amqp.ledgers import schema, sharding
from resonate_amqp.ledgers.sql import SqlLedger
from resonate_amqp.resonate.machine import NoFailpoints
from resonate_amqp.server.service import LedgerService
from resonate_amqp.server.terms import Terms
from resonate_amqp.wire.address import EXCHANGE, ledger_queue, shard_key
from resonate_amqp.wire.codec import encode_call
from resonate_amqp.wire.envelope import Reply, encode_group, encode_requests
from resonate_amqp.wire.properties import Properties
from resonate_amqp.wire.topology import Queue
from tests.core.world import call, external, settle
from tests.server.desk import START, Client, HandClock, Office, Seeded, executes

LATER = START + 3_600_000
LOW = next(f"low-{n}" for n in range(1000) if shard_of(f"low-{n}") < 32)
HIGH = next(f"high-{n}" for n in range(1000) if shard_of(f"high-{n}") >= 32)


class Town:
    """A database that two services may share, each with a queue of its own."""

    def __init__(self, path: Path, queues: int) -> None:
        self.url = f"sqlite:///{path / 'ledger.db'}"
        schema.prepare(self.url)
        self.office = Office()
        self.client = Client(self.office, "p1")
        self.services: dict[int, tuple[LedgerService, MemoryConnection]] = {}
        self._ledgers = contextlib.ExitStack()
        self.learned: list[tuple[int, ...]] = []
        self.owners = sharding.reshard(self.url, queues)
        for queue in range(queues):
            self.serve(queue)
        self.work()

    @property
    def broker(self) -> MemoryBroker:
        return self.office.broker

    @property
    def clock(self) -> HandClock:
        return self.office.clock

    def serve(self, queue: int) -> None:
        connection = self.broker.connect()
        ledger = self._ledgers.enter_context(contextlib.closing(SqlLedger(self.url, queue=queue)))
        service = LedgerService(
            ledger,
            connection,
            self.clock,
            Seeded(queue),
            NoFailpoints(),
            queue=queue,
            owners=sharding.owners(self.url),
            learned=self.learned.append,
            terms=Terms(queue_type="classic"),
        )
        self.services[queue] = (service, connection)

    def close(self) -> None:
        self._ledgers.close()

    def work(self, milliseconds: int = 0) -> None:
        """Turn every service until nothing happens, for so long."""
        until = self.clock.passed + milliseconds
        while True:
            for _ in range(30):
                for service, connection in self.services.values():
                    service.turn(connection.poll(0))
            if self.clock.passed >= until:
                return
            self.clock.passed += 250

    def ask(self, *groups: Group) -> dict[str, Reply]:
        self.client.send(*groups)
        self.work(50)
        return self.client.replies()


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with contextlib.closing(Town(tmp_path, 2)) as made:
        yield made


@pytest.fixture
def village(tmp_path: Path) -> Iterator[Town]:
    """A town of one queue."""
    with contextlib.closing(Town(tmp_path, 1)) as made:
        yield made


def test_a_group_that_came_to_the_wrong_queue_is_answered_by_its_owner(town: Town) -> None:
    groups = [town.client.group(external(one, LATER)) for one in (LOW, HIGH)]
    replies = town.ask(*groups)
    assert [replies[group.id].responses[0].status for group in groups] == [200, 200]


def test_answers_say_which_queue_keeps_each_shard(town: Town) -> None:
    group = town.client.group(external(LOW, LATER))
    town.client.send(group)
    town.work(50)
    assert {message.owners for message in town.client.heard()} == {town.owners}


def test_each_queue_takes_the_timers_of_its_own_shards_alone(town: Town) -> None:
    soon = START + 5_000
    town.ask(*(town.client.group(external(one, soon)) for one in (LOW, HIGH)))
    town.work(10_000)
    groups = [town.client.group(PromiseGet(id=one)) for one in (LOW, HIGH)]
    states = [reply.responses[0].promise for reply in town.ask(*groups).values()]
    assert {one.state for one in states if one} == {PromiseState.REJECTED_TIMEDOUT}


def test_a_promise_of_another_queue_is_awaited_through_a_mirror(town: Town) -> None:
    worker = town.office.worker("a")
    town.ask(town.client.group(call(LOW, LATER)), town.client.group(external(HIGH, LATER)))
    [execute] = executes(worker)
    acquire = TaskAcquire(
        id=LOW, version=0, pid="p", ttl=86_400_000, holder="h", ticket=execute.ticket
    )
    create = PromiseCreate(id=f"{LOW}:1", timeout_at=LATER, tags={BRANCH: LOW, MIRROR: HIGH})
    fence = TaskFence(id=LOW, version=1, holder="h", action=create)
    town.ask(town.client.group(acquire, fence))
    town.ask(town.client.group(settle(HIGH)))
    town.work(1_000)
    group = town.client.group(PromiseGet(id=f"{LOW}:1"))
    promise = town.ask(group)[group.id].responses[0].promise
    assert promise is not None
    assert promise.state is PromiseState.RESOLVED


def test_a_reply_about_a_promise_of_another_queue_is_passed_on_to_it(town: Town) -> None:
    """Whoever sent it does not repeat it: it is acknowledged only once the other queue has it."""
    office = town.office
    office.broker.connect().declare(Queue("prices"))
    param = encode_call("f", 1, (1,), {})
    tags = {TARGET: "queue://prices"}
    creates = [replace(call(one, LATER), param=param, tags=tags) for one in (LOW, HIGH)]
    town.ask(*map(town.client.group, creates))
    for promise_id in (LOW, HIGH):
        for body, headers in ((b"no", {"resonate:error": 1}), (b"12", {})):
            properties = Properties(correlation_id=promise_id, headers=headers)
            town.client.connection.publish(ledger_queue(0), body, properties=properties)
    town.work(2_000)
    groups = [town.client.group(PromiseGet(id=one)) for one in (LOW, HIGH)]
    found = [reply.responses[0].promise for reply in town.ask(*groups).values()]
    assert [one and one.state for one in found] == [PromiseState.RESOLVED] * 2
    assert [dead["queue"] for dead in office.dead()] == [ledger_queue(0), ledger_queue(1)]
    assert {office.broker.depth(ledger_queue(queue)) for queue in (0, 1)} == {0}


def test_what_runs_takes_notice_of_a_reshard_and_loses_nothing(village: Town) -> None:
    town = village
    town.ask(*(town.client.group(call(one, LATER)) for one in (LOW, HIGH)))
    owners = sharding.reshard(town.url, 2)
    town.serve(1)
    town.work(3_000)
    groups = [town.client.group(PromiseGet(id=one)) for one in (LOW, HIGH)]
    town.client.send(*groups)
    town.work(5_000)
    replies = town.client.replies()
    assert {group.id for group in groups} <= replies.keys()
    assert town.learned[-1] == owners
    found = {one.promise.id for one in executes(town.office.worker("a"))}
    assert found == {LOW, HIGH}


def test_a_search_finds_what_the_asked_queue_keeps(town: Town) -> None:
    town.ask(*(town.client.group(call(one, LATER)) for one in (LOW, HIGH)))
    query = TaskSearch(states=(TaskState.PENDING,), before=LATER, limit=10)
    group = town.client.group(query)
    tree = town.ask(group)[group.id].tree or []
    assert len(tree) == 1


def test_serials_of_two_queues_never_meet(town: Town) -> None:
    """Both generations may be the same, and an outbox row is deleted by its serial."""
    town.ask(*(town.client.group(call(one, LATER)) for one in (LOW, HIGH)))
    worker = town.office.worker("a")
    assert {one.promise.id for one in executes(worker)} == {LOW, HIGH}


@pytest.mark.parametrize("queues", [0, 65, -1])
def test_an_impossible_number_of_queues_is_refused(tmp_path: Path, queues: int) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    schema.prepare(url)
    with pytest.raises(UsageError, match="64 shards"):
        sharding.reshard(url, queues)


def test_resharding_to_one_queue_gives_everything_back(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    schema.prepare(url)
    assert len(set(sharding.reshard(url, 4))) == 4
    assert set(sharding.reshard(url, 1)) == {0}


def test_shards_given_back_are_answered_for_by_their_new_owner_alone(town: Town) -> None:
    """The queue that lost them took itself for the only one, and wrote what was not its own."""
    town.ask(*(town.client.group(external(one, LATER)) for one in (LOW, HIGH)))
    sharding.reshard(town.url, 1)
    get = town.client.group(PromiseGet(id=HIGH))
    town.client.send(get)
    town.work(5_000)
    assert get.id in town.client.replies()
    kept = [service._shards.own() for service, _ in town.services.values()]
    assert [len(shards) for shards in kept] == [64, 0]
    tap = town.office.tap()
    town.ask(town.client.group(PromiseGet(id=HIGH)))
    assert sum(b'"requests"' in body for _, body in tap.passed) <= 3


def test_a_ledger_that_only_passes_on_notices_that_it_errs(town: Town) -> None:
    town.ask(*(town.client.group(external(one, LATER)) for one in (LOW, HIGH)))
    town.services.pop(1)[1].close()
    sharding.reshard(town.url, 1)
    for _ in range(2):
        group = town.client.group(PromiseGet(id=HIGH))
        body = encode_requests([encode_group(group)])
        town.client.connection.publish(
            shard_key(LOW), body, exchange=EXCHANGE, reply_to=town.client.address
        )
        town.work(5_000)
    assert group.id in town.client.replies()


@pytest.mark.parametrize(
    "step",
    [
        PromiseRegisterCallback(awaited=LOW, awaiter=HIGH),
        TaskSuspend(id=HIGH, version=1, holder="h", awaited=(LOW,)),
        TaskHeartbeat(
            pid="p",
            tasks=(Lease(id=LOW, version=1, holder="h"), Lease(id=HIGH, version=1, holder="h")),
        ),
    ],
    ids=lambda step: step.kind,
)
def test_a_request_about_promises_of_several_queues_is_refused(town: Town, step: Request) -> None:
    """Either ledger would write records that the other one remembers."""
    group = town.client.group(step)
    [response] = town.ask(group)[group.id].responses
    assert response.status == 400
    assert "different ledger queues" in response.error
