"""Messages that are gone: every promise ends all the same, by the backstop or its deadline.

A queue may be purged, deleted, expire, drop what exceeds its length, or lose its disk; nobody is
told. The tasks are still in the ledger's tables, and `stuck` names them.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from resonate_amqp import Resonate, TimedOut
from resonate_amqp.dev.broker import PrivateBroker
from tests.scenarios.system import Process, System, wait_until

pytestmark = [pytest.mark.processes, pytest.mark.rabbitmq]

WORK = "resonate.any.service-c"
OWN = "resonate.uni.service-c.p1"
SOON = {"backstop": 1.0, "hold_max": 2.0, "lease": 2.0, "refresh": 0.5}
"""The settings of ledger and workers: what takes minutes happens within seconds."""

EXPIRES_MS = 300
LOOK_S = 0.6
"""To look at a queue is to use it: whoever does so more often keeps it from expiring."""


@pytest.fixture
def system(node: PrivateBroker, tmp_path: Path) -> Iterator[System]:
    """A system on the module's own node."""
    made = System(node.new_vhost(), tmp_path)
    yield made
    made.kill_all()
    sys.stdout.write(made.logs())


@contextlib.contextmanager
def channel(system: System) -> Iterator[BlockingChannel]:
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(system.url))) as broker:
        yield broker.channel()


def policy(node: PrivateBroker, system: System, pattern: str, definition: str) -> None:
    """Set a policy, as an operator does, for the queues of the system whose names match."""
    vhost = unquote(urlsplit(system.url).path.removeprefix("/"))
    node.control("set_policy", "-p", vhost, "test", pattern, definition, "--apply-to", "queues")


def calls(system: System, count: int) -> tuple[Process, dict[str, int]]:
    """A gateway whose calls of `work` are all recorded, and their results."""
    numbers = {f"call-{number}": number for number in range(count)}
    given = [f"{promise_id}={number}" for promise_id, number in numbers.items()]
    gateway = system.gateway(*given, function="work", to="service-c")
    wait_until("every call is recorded", lambda: gateway.recorded() == count)
    return gateway, {promise_id: 2 * number for promise_id, number in numbers.items()}


def ends(system: System, gateway: Process, results: dict[str, int]) -> None:
    """Every call comes to its result, by one run of its body."""
    wait_until("every call has its result", lambda: len(gateway.results()) == len(results))
    assert gateway.results() == results
    runs = Counter(run.promise_id for run in system.journal.runs("work"))
    assert runs == dict.fromkeys(results, 1)
    assert system.stuck() == {}
    system.end()


def wait_for_worker(promise_ids: dict[str, int], queue: str) -> dict[str, tuple[str, str]]:
    """What `stuck` says of calls that nobody has taken."""
    return dict.fromkeys(promise_ids, ("pending", f"a worker that takes it from {queue}"))


def test_what_was_in_a_purged_queue_is_done(system: System) -> None:
    system.ledger(**SOON | {"backstop": 3.0})
    gateway, results = calls(system, 5)
    wait_until("the executes are there", lambda: system.waiting("service-c") == 5)
    with channel(system) as broker:
        broker.queue_purge(WORK)
    assert system.stuck() == wait_for_worker(results, WORK)
    system.worker("c", **SOON)
    ends(system, gateway, results)


def test_what_was_in_a_deleted_queue_is_done(system: System) -> None:
    system.ledger(**SOON | {"backstop": 3.0})
    gateway, results = calls(system, 5)
    wait_until("the executes are there", lambda: system.waiting("service-c") == 5)
    with channel(system) as broker:
        broker.queue_delete(WORK)
    assert system.stuck() == wait_for_worker(results, WORK)
    wait_until("the queue is there again", lambda: len(waiting(system, WORK)) == 1)
    system.worker("c", **SOON)
    ends(system, gateway, results)


def test_a_queue_deleted_under_its_consumer_costs_no_call(system: System) -> None:
    """One body runs, of a delivery that is gone with the queue; four more wait behind it."""
    system.journal.close_gate("work")
    system.ledger(**SOON)
    system.worker("c", **SOON | {"prefetch": 1})
    gateway, results = calls(system, 5)
    system.wait_for_run("work")
    with channel(system) as broker:
        broker.queue_delete(WORK)
    wait_until("all of them wait", lambda: system.stuck().keys() == results.keys())
    system.journal.open_gate("work")
    ends(system, gateway, results)


def test_what_was_in_an_expired_queue_of_one_process_is_done_once_it_comes(
    node: PrivateBroker, system: System
) -> None:
    policy(node, system, r"^resonate\.uni\.", f'{{"expires": {EXPIRES_MS}}}')
    system.ledger(**SOON)
    gateway = system.gateway("call=4", function="work", to="poll://uni@service-c/p1")
    wait_until("the call is recorded", gateway.recorded)
    wait_until("its queue is gone", lambda: waiting(system, OWN) == [], poll_s=LOOK_S)
    assert system.stuck() == wait_for_worker({"call": 8}, OWN)
    system.worker("c", pid="p1", **SOON)
    ends(system, gateway, {"call": 8})


def test_a_call_to_a_process_that_never_comes_ends_by_its_deadline(
    node: PrivateBroker, system: System
) -> None:
    policy(node, system, r"^resonate\.uni\.", f'{{"expires": {EXPIRES_MS}}}')
    system.ledger(**SOON)
    system.wait_for_ledger()
    with Resonate(system.url, group="gateway") as resonate:
        to = resonate.options(target="poll://uni@service-c/p1", timeout=4)
        handle = to.rpc("call", "work", 4)
        wait_until("its queue is gone", lambda: waiting(system, OWN) == [], poll_s=LOOK_S)
        assert system.stuck() == wait_for_worker({"call": 8}, OWN)
        with pytest.raises(TimedOut):
            handle.result(timeout=20)
    assert system.stuck() == {}
    system.end()


@pytest.mark.parametrize("kind", ["quorum", "classic"])
@pytest.mark.parametrize("overflow", ["drop-head", "reject-publish"])
def test_what_a_queue_of_limited_length_does_not_take_is_done(
    node: PrivateBroker, system: System, overflow: str, kind: str
) -> None:
    """What is dropped is offered again by the backstop, what is refused by the outbox."""
    policy(node, system, r"^resonate\.any\.", f'{{"max-length": 2, "overflow": "{overflow}"}}')
    system.ledger(**SOON | {"queue_type": kind})
    gateway, results = calls(system, 20)
    assert system.stuck() == wait_for_worker(results, WORK)
    assert system.waiting("service-c") < 20
    system.worker("c", **SOON | {"prefetch": 8})
    ends(system, gateway, results)


def test_a_broker_that_lost_its_disk_costs_no_call(tmp_path: Path) -> None:
    """Ledger and workers make everything again, and every task that was under way goes on."""
    home = tmp_path / "node"
    home.mkdir()
    with PrivateBroker(home) as node:
        system = System(node.url, tmp_path)
        try:
            lose_the_disk(node, home, system)
        finally:
            system.kill_all()
            sys.stdout.write(system.logs())


def lose_the_disk(node: PrivateBroker, home: Path, system: System) -> None:
    """Of one chain the last body runs, one waits in a queue, and a third is parked."""
    system.journal.close_gate("baz")
    system.ledger(**SOON)
    system.worker("a", **SOON | {"park_after": 0.5})
    system.worker("b", **SOON)
    c = system.worker("c", **SOON)
    gateway = system.gateway("chain")
    system.wait_for_run("baz")
    wait_until("foo is parked", lambda: system.task_state("chain") == "suspended")
    c.kill()
    system.wait_for_consumers("service-c", 0)
    node.kill()
    shutil.rmtree(home / "mnesia")
    node.start()
    wait_until("baz waits for a worker", lambda: "chain:1.2" in system.stuck())
    system.journal.open_gate("baz")
    system.worker("c", **SOON)
    assert system.result(gateway) == 3
    assert system.journal.counts()["note"] == 1
    assert system.stuck() == {}
    system.end()


def waiting(system: System, queue: str) -> list[int]:
    """How many messages wait in a queue; nothing when there is none of that name."""
    with channel(system) as broker:
        try:
            return [broker.queue_declare(queue, passive=True).method.message_count]
        except pika.exceptions.ChannelClosedByBroker:
            return []
