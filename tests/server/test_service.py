"""The ledger service: everything is answered after its commit, and timers go on by themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resonate_amqp.core.batch import Batch
from resonate_amqp.core.model import PromiseState, TaskState, Value
from resonate_amqp.core.requests import (
    Group,
    OriginGet,
    PromiseCreate,
    PromiseGet,
    PromiseRegisterListener,
    TaskAcquire,
    TaskGet,
)
from resonate_amqp.ledgers.memory import MemoryLedger
from resonate_amqp.server.health import PROBE_EVERY_MS
from resonate_amqp.server.service import DEAF_AFTER_MS
from resonate_amqp.server.watch import MOST
from resonate_amqp.wire.address import DEAD_QUEUE, queue_of
from resonate_amqp.wire.envelope import MAX_MESSAGE_BYTES
from resonate_amqp.wire.topology import Queue
from tests.core.world import call, external, settle, timer
from tests.server.desk import LEDGER, START, Office, deliveries, executes
from tests.server.ledgers import Watched

LATER = START + 3_600_000


def test_a_ledger_is_promoted_by_its_own_probe_although_nobody_calls() -> None:
    office = Office()
    desk = office.service()
    assert desk.service.promoted
    assert office.broker.depth(LEDGER) == 0


def test_probes_are_published_every_second_and_acknowledged() -> None:
    office = Office()
    tap = office.tap()
    desk = office.service()
    tap.passed.clear()
    desk.run(10 * PROBE_EVERY_MS)
    assert len(tap.passed) == 10
    desk.connection.close()
    assert office.broker.depth(LEDGER) == 0


def test_an_idle_service_turns_a_few_times_a_second() -> None:
    office = Office()
    desk = office.service()
    desk.turns = 0
    desk.run(60_000)
    assert desk.turns < 60 * 6


def test_a_request_is_answered_by_the_group_it_was_asked_in() -> None:
    office = Office()
    desk, client = office.service(), office.client()
    first, second = client.group(external("a", LATER)), client.group(PromiseGet(id="b"))
    client.send(first, second)
    desk.work()
    replies = client.replies()
    assert [one.status for one in replies[first.id].responses] == [200]
    assert [one.status for one in replies[second.id].responses] == [404]


def test_everything_ready_in_one_turn_is_one_transaction_and_one_message_back() -> None:
    office = Office()
    ledger = Watched()
    desk, client = office.service(ledger), office.client()
    transactions: list[None] = []
    ledger.applying = lambda: transactions.append(None)
    for number in range(20):
        client.send(client.group(external(f"p{number}", LATER)))
    desk.turn()
    assert len(transactions) == 1
    [message] = client.heard()
    assert len(message.replies) == 20


def test_more_groups_than_one_transaction_takes_are_all_answered() -> None:
    office = Office()
    desk, client = office.service(), office.client()
    groups = [client.group(external(f"p{number}", LATER)) for number in range(1_500)]
    for start in range(0, 1_500, 10):
        client.send(*groups[start : start + 10])
    desk.work()
    assert client.replies().keys() == {group.id for group in groups}


def test_each_client_is_answered_at_its_own_address() -> None:
    office = Office()
    desk, one, other = office.service(), office.client("p1"), office.client("p2")
    asked = [client.group(external("a", LATER)) for client in (one, other)]
    one.send(asked[0])
    other.send(asked[1])
    desk.work()
    assert list(one.replies()) == [asked[0].id]
    assert list(other.replies()) == [asked[1].id]


@pytest.mark.parametrize("address", ["resonate.any.a", "orders", "resonate.ledger.0", ""])
def test_nothing_is_ever_sent_to_an_address_that_is_no_reply_queue(address: str) -> None:
    """Whoever may ask the ledger must not gain the right to write into every queue."""
    office = Office()
    desk, client = office.service(), office.client()
    office.worker("a")
    office.broker.connect().consume(Queue("orders"), prefetch=1)
    tap = office.tap()
    client.send(client.group(external("a", LATER)), reply_to=address)
    client.send_raw(b'{"kind":"requests"', address)
    desk.work()
    assert {queue for queue, _ in tap.passed} == {LEDGER, DEAD_QUEUE}
    assert client.ask(desk, PromiseGet(id="a")).status == 200


def test_an_execute_is_offered_to_its_target_with_a_ticket_of_its_own() -> None:
    office = Office()
    desk, client, worker = office.service(), office.client(), office.worker("a")
    client.ask(desk, call("a", LATER))
    client.ask(desk, call("b", LATER))
    first, second = executes(worker)
    assert (first.promise.id, first.version, first.repeat) == ("a", 0, False)
    assert first.now == START
    assert first.ticket
    assert first.ticket != second.ticket


def test_an_unblock_is_sent_when_the_promise_is_settled() -> None:
    office = Office()
    desk, client, other = office.service(), office.client(), office.client("p2")
    client.ask(desk, external("a", LATER), listening("a", client.address))
    other.ask(desk, settle("a", value=Value({}, "Mw==")))
    [message] = client.heard()
    [promise] = message.unblocked
    assert (promise.id, promise.state, promise.value.data) == ("a", PromiseState.RESOLVED, "Mw==")


def test_nothing_is_said_before_it_is_recorded() -> None:
    """Replies, unblocks and executes of a transaction appear only after it."""
    office = Office()
    ledger = Watched()
    desk, client, worker = office.service(ledger), office.client(), office.worker("a")
    client.ask(desk, external("a", LATER), listening("a", client.address))
    heard_before: list[int] = []
    ledger.applying = lambda: heard_before.append(
        len(client.heard()) + len(deliveries(worker)) + office.broker.depth(queue_of("a"))
    )
    client.send(client.group(settle("a")), client.group(call("b", LATER)))
    desk.turn()
    assert heard_before == [0]
    assert len(client.heard()) == 1
    assert len(executes(worker)) == 1


def test_a_listener_is_forgotten_within_a_second_of_its_unblock() -> None:
    office = Office()
    ledger = MemoryLedger()
    desk, client = office.service(ledger), office.client()
    client.ask(desk, external("a", LATER), listening("a", client.address))
    client.ask(desk, settle("a"))
    desk.run(1_000)
    assert ledger.promises["a"].listeners == ()


def test_a_durable_timer_fires_at_its_millisecond() -> None:
    office = Office()
    desk, client = office.service(), office.client()
    for promise_id, wait_ms in (("a", 1_234), ("b", 1_235), ("c", 98_765)):
        client.ask(desk, timer(promise_id, START + wait_ms), listening(promise_id, client.address))
    fired: dict[str, int] = {}
    while desk.clock.passed < 100_000:
        desk.run(max(1, desk.service.idle_ms()))
        for message in client.heard():
            fired |= {promise.id: desk.clock.now() - START for promise in message.unblocked}
    assert fired == {"a": 1_234, "b": 1_235, "c": 98_765}


def test_a_deadline_passes_at_its_millisecond() -> None:
    office = Office()
    ledger = MemoryLedger()
    desk, client = office.service(ledger), office.client()
    client.ask(desk, call("a", START + 777))
    desk.run(776)
    assert ledger.promises["a"].pending
    desk.run(1)
    assert ledger.promises["a"].state is PromiseState.REJECTED_TIMEDOUT
    assert state(ledger) is TaskState.FULFILLED


def test_a_delayed_call_is_offered_at_its_millisecond() -> None:
    office = Office()
    desk, client, worker = office.service(), office.client(), office.worker("a")
    client.ask(desk, call("a", LATER, delay=str(START + 2_500)))
    desk.run(2_499)
    assert executes(worker) == []
    desk.run(1)
    assert [one.promise.id for one in executes(worker)] == ["a"]


def test_timers_missed_while_no_ledger_ran_fire_when_one_is_there() -> None:
    office = Office()
    ledger = MemoryLedger()
    first, client = office.service(ledger), office.client()
    client.ask(first, timer("a", START + 5_000), listening("a", client.address))
    first.connection.close()
    office.clock.passed += 60_000
    office.service(ledger)
    [promise] = [one for message in client.heard() for one in message.unblocked]
    assert promise.settled_at == START + 5_000


def test_many_timers_are_loaded_a_heap_at_a_time() -> None:
    """More timers than a load takes, all within its window, fire in time and cost no idle turn."""
    office = Office()
    ledger = Watched()
    count = MOST + 500
    ledger.promote(START)
    asked = [Group(id=f"g{n}", steps=(timer(f"p{n}", START + 20_000 + n),)) for n in range(count)]
    ledger.apply(Batch(groups=asked), START)
    desk = office.service(ledger)
    desk.turns = ledger.loads = 0
    desk.run(20_000)
    assert desk.turns < 200
    assert ledger.loads < 5
    desk.run(count)
    assert not any(promise.pending for promise in ledger.promises.values())
    late = [p.id for p in ledger.promises.values() if p.settled_at != p.timeout_at]
    assert late == []


TTL = 60_000


def state(ledger: MemoryLedger) -> TaskState:
    return ledger.tasks["a"].state


def acquired(task_id: str) -> TaskAcquire:
    return TaskAcquire(id=task_id, version=0, pid="p1", ttl=TTL, holder="h1", ticket="t1")


def test_a_lease_that_nobody_refreshes_ends_at_its_millisecond() -> None:
    office = Office()
    ledger = MemoryLedger()
    desk, client, worker = office.service(ledger), office.client(), office.worker("a")
    client.ask(desk, call("a", LATER))
    assert client.ask(desk, acquired("a")).status == 200
    executes(worker)
    desk.run(TTL - 1)
    assert state(ledger) is TaskState.ACQUIRED
    desk.run(1)
    assert state(ledger) is TaskState.PENDING
    [again] = executes(worker)
    assert (again.version, again.repeat) == (1, False)


def test_a_lease_outlives_a_ledger_that_could_not_hear_its_holder() -> None:
    """After a gap every healthy worker has a whole ttl to refresh what it holds."""
    office = Office()
    ledger = MemoryLedger()
    desk, client = office.service(ledger), office.client()
    client.ask(desk, call("a", LATER))
    client.ask(desk, acquired("a"))
    desk.run(TTL // 2)
    office.clock.passed += TTL
    desk.work()
    assert state(ledger) is TaskState.ACQUIRED
    desk.run(TTL - 1)
    assert state(ledger) is TaskState.ACQUIRED
    desk.run(1)
    assert state(ledger) is TaskState.PENDING


def test_a_short_gap_is_no_outage() -> None:
    office = Office()
    ledger = MemoryLedger()
    desk, client = office.service(ledger), office.client()
    client.ask(desk, call("a", LATER))
    client.ask(desk, acquired("a"))
    office.clock.passed += DEAF_AFTER_MS
    desk.run(TTL - DEAF_AFTER_MS)
    assert state(ledger) is TaskState.PENDING


def test_a_lease_outlives_the_promotion_of_another_ledger() -> None:
    office = Office()
    ledger = MemoryLedger()
    first, client = office.service(ledger), office.client()
    client.ask(first, call("a", LATER))
    client.ask(first, acquired("a"))
    first.connection.close()
    office.clock.passed += TTL * 2
    second = office.service(ledger)
    second.run(TTL - 1)
    assert state(ledger) is TaskState.ACQUIRED
    second.run(1)
    assert state(ledger) is TaskState.PENDING


def test_replies_that_would_be_too_long_together_are_sent_apart() -> None:
    office = Office()
    desk, client = office.service(), office.client()
    large = Value({}, "x" * 1_400_000)
    for number in range(8):
        client.ask(desk, replace(external(f"p{number}", LATER), param=large))
    groups = [client.group(PromiseGet(id=f"p{number}")) for number in range(8)]
    tap = office.tap()
    client.send(*groups)
    desk.turn()
    messages = client.heard()
    assert len(messages) > 1
    assert max(len(body) for _, body in tap.passed) <= MAX_MESSAGE_BYTES
    told = {reply.id: reply.responses[0] for one in messages for reply in one.replies}
    assert told.keys() == {group.id for group in groups}
    assert all(one.promise and one.promise.param == large for one in told.values())


def test_a_tree_is_answered_oldest_first() -> None:
    office = Office()
    desk, client = office.service(), office.client()
    client.ask(desk, call("a", LATER))
    office.clock.passed += 5
    client.ask(desk, PromiseCreate(id="a:1", timeout_at=LATER))
    group = client.group(OriginGet("a"))
    client.send(group)
    desk.work()
    tree = client.replies()[group.id].tree
    assert tree is not None
    assert [(promise.id, task is not None) for promise, task in tree] == [
        ("a", True),
        ("a:1", False),
    ]


def test_time_never_goes_back_although_the_clock_does() -> None:
    office = Office()
    ledger = MemoryLedger()
    desk, client = office.service(ledger), office.client()
    office.clock.passed += 10_000
    client.ask(desk, external("a", LATER))
    told = ledger.now

    class Back:
        def now(self) -> int:
            return START - 3_600_000

        def monotonic(self) -> int:
            return office.clock.monotonic()

    desk.service._clock = Back()
    office.clock.passed += 500
    client.ask(desk, external("b", LATER))
    assert ledger.promises["b"].created_at == told + 500


def test_a_stopped_service_returns_what_it_did_not_answer() -> None:
    office = Office()
    desk, client = office.service(), office.client()
    client.send(client.group(external("a", LATER)))
    desk.service.stop()
    assert office.broker.depth(LEDGER) == 1
    assert not desk.service.promoted


def test_nothing_is_taken_while_nothing_can_be_said() -> None:
    office = Office()
    ledger = MemoryLedger()
    desk, client = office.service(ledger), office.client()
    client.send(client.group(external("a", LATER)))
    desk.connection.cut()
    desk.run(5_000)
    assert ledger.promises == {}
    desk.connection.reconnect()
    desk.work()
    assert list(ledger.promises) == ["a"]
    assert len(client.replies()) == 1


def listening(promise_id: str, address: str) -> PromiseRegisterListener:
    return PromiseRegisterListener(awaited=promise_id, address=address)


def test_what_a_task_is_can_be_asked() -> None:
    office = Office()
    desk, client = office.service(), office.client()
    client.ask(desk, call("a", LATER))
    answer = client.ask(desk, TaskGet(id="a"))
    assert answer.task is not None
    assert answer.task.state is TaskState.PENDING
