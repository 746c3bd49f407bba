"""The outbox: an execute is published until the broker has it, each time as another message."""

from __future__ import annotations

import pytest

from resonate_amqp.core.model import TaskState
from resonate_amqp.core.requests import PromiseRegisterListener, TaskAcquire, TaskGet, TaskRedrive
from resonate_amqp.ledgers.memory import MemoryLedger
from resonate_amqp.ports import Opened, Unconfirmed
from resonate_amqp.wire.address import any_queue, uni_queue
from tests.core.world import call, external, settle
from tests.server.desk import START, Office, executes

LATER = START + 3_600_000


def test_a_call_to_a_group_that_never_ran_waits_in_its_queue() -> None:
    """Returned as unroutable, the queue is created and the row published again."""
    office = Office()
    desk, client = office.service(), office.client()
    client.ask(desk, call("a", LATER))
    desk.run(1_000)
    assert office.broker.depth(any_queue("a")) == 1
    [execute] = executes(office.worker("a"))
    assert (execute.promise.id, execute.repeat) == ("a", True)


def test_a_call_to_one_process_waits_in_that_process_s_queue() -> None:
    office = Office()
    desk, client = office.service(), office.client()
    client.ask(desk, call("a", LATER, target="poll://uni@a/p7"))
    desk.run(1_000)
    assert office.broker.depth(uni_queue("a", "p7")) == 1


def test_the_first_publish_is_no_repeat() -> None:
    office = Office()
    desk, client, worker = office.service(), office.client(), office.worker("a")
    client.ask(desk, call("a", LATER))
    assert [execute.repeat for execute in executes(worker)] == [False]


def test_an_execute_the_broker_refused_is_published_again_with_another_ticket() -> None:
    office = Office()
    desk, client, worker = office.service(), office.client(), office.worker("a")
    desk.connection.refusals = 2
    client.ask(desk, call("a", LATER))
    desk.run(2_000)
    [execute] = executes(worker)
    assert execute.repeat
    assert execute.ticket


def test_a_broker_that_goes_on_refusing_is_asked_ever_less_often() -> None:
    office = Office()
    desk, client = office.service(), office.client()
    office.worker("a")
    desk.connection.refusals = 1_000
    client.ask(desk, call("a", LATER))
    desk.run(60_000)
    assert 5 <= 1_000 - desk.connection.refusals <= 12


def test_a_confirmed_row_is_deleted_within_a_second_although_nobody_calls() -> None:
    office = Office()
    ledger = MemoryLedger()
    desk, client = office.service(ledger), office.client()
    office.worker("a")
    client.ask(desk, call("a", LATER))
    assert len(ledger.offers) == 1
    desk.run(1_000)
    assert ledger.offers == {}


def test_an_acquired_task_needs_its_row_no_more() -> None:
    office = Office()
    ledger = MemoryLedger()
    desk, client, worker = office.service(ledger), office.client(), office.worker("a")
    client.ask(desk, call("a", LATER))
    [execute] = executes(worker)
    acquire = TaskAcquire(id="a", version=0, pid="p", ttl=1_000, holder="h", ticket=execute.ticket)
    client.ask(desk, acquire)
    assert ledger.offers == {}


def test_a_new_ledger_publishes_what_the_last_one_had_no_confirm_for_as_a_repeat() -> None:
    office = Office()
    ledger = MemoryLedger()
    first, client, worker = office.service(ledger), office.client(), office.worker("a")
    client.ask(first, call("a", LATER))
    [once] = executes(worker)
    first.connection.close()
    office.service(ledger)
    [again] = executes(worker)
    assert (once.repeat, again.repeat) == (False, True)
    assert once.ticket != again.ticket
    assert (once.promise.id, once.version) == (again.promise.id, again.version)


def test_a_new_ledger_publishes_nothing_that_was_confirmed() -> None:
    office = Office()
    ledger = MemoryLedger()
    first, client, worker = office.service(ledger), office.client(), office.worker("a")
    client.ask(first, call("a", LATER))
    first.run(1_000)
    executes(worker)
    first.connection.close()
    office.service(ledger).run(5_000)
    assert executes(worker) == []


def test_a_new_ledger_tells_listeners_that_the_last_one_may_not_have_told() -> None:
    office = Office()
    ledger = MemoryLedger()
    first, client = office.service(ledger), office.client()
    listener = PromiseRegisterListener(awaited="a", address=client.address)
    client.ask(first, external("a", LATER), listener)
    client.ask(first, settle("a"))
    client.heard()
    first.connection.close()
    second = office.service(ledger)
    assert [promise.id for one in client.heard() for promise in one.unblocked] == ["a"]
    second.run(1_000)
    second.connection.close()
    office.service(ledger)
    assert client.heard() == []


def test_a_new_publishing_connection_repeats_what_was_not_confirmed() -> None:
    """The same epoch means that consumers still stand; nothing else is done again."""
    office = Office()
    desk, client, worker = office.service(), office.client(), office.worker("a")
    desk.connection.refusals = 1
    client.ask(desk, call("a", LATER))
    assert executes(worker) == []
    desk.connection.push(Opened(1))
    desk.work()
    [execute] = executes(worker)
    assert execute.repeat
    assert desk.service.promoted


@pytest.mark.parametrize("count", [1, 30])
def test_after_a_cut_every_unconfirmed_execute_arrives(count: int) -> None:
    office = Office()
    ledger = MemoryLedger()
    desk, client, worker = office.service(ledger), office.client(), office.worker("a")
    desk.connection.refusals = count
    for number in range(count):
        client.ask(desk, call(f"p{number}", LATER))
    desk.connection.cut()
    desk.connection.reconnect()
    desk.run(2_000)
    assert {one.promise.id for one in executes(worker)} == {f"p{n}" for n in range(count)}
    assert ledger.offers == {}


def test_a_task_whose_execute_is_too_large_for_the_broker_is_halted_and_says_so() -> None:
    office = Office()
    desk, client = office.service(), office.client()
    desk.connection.mute = True
    client.send(client.group(call("a", LATER)))
    desk.work()
    desk.connection.mute = False
    assert isinstance(desk.ledger, MemoryLedger)
    [serial] = desk.ledger.offers
    desk.connection.push(Unconfirmed((serial,), oversized=True))
    desk.work()
    response = client.ask(desk, TaskGet(id="a"))
    assert response.task is not None
    assert response.task.state is TaskState.HALTED
    assert "max_message_size" in response.task.reason
    assert not desk.ledger.offers
    client.ask(desk, TaskRedrive(id="a"))
    desk.run(1_000)
    assert [one.promise.id for one in executes(office.worker())] == ["a"]


def test_on_a_given_topology_a_missing_queue_is_told_and_not_made(
    caplog: pytest.LogCaptureFixture,
) -> None:
    office = Office()
    desk = office.service()
    desk.connection.cut()
    desk = office.service(desk.ledger, declare=False)
    client = office.client()
    client.ask(desk, call("r", LATER))
    desk.run(100_000)
    assert any_queue("a") not in office.broker.queues()
    told = [message for message in caplog.messages if any_queue("a") in message]
    assert len(told) == 2
    assert "topology=passive" in told[0]
    worker = office.worker("a")
    desk.run(31_000)
    assert [one.promise.id for one in executes(worker)] == ["r"]


def test_a_refused_execute_is_published_again_after_200_ms_then_ever_later() -> None:
    office = Office()
    desk, client = office.service(), office.client()
    office.worker("a")
    desk.connection.refusals = 1_000
    client.send(client.group(call("a", LATER)))
    published: list[float] = []
    left = desk.connection.refusals
    for _ in range(600):
        desk.work()
        published += [office.clock.passed / 1_000] * (left - desk.connection.refusals)
        left = desk.connection.refusals
        office.clock.passed += 200
    assert published == [0, 0.2, 0.6, 1.4, 3.0, 6.2, 12.6, 25.4, 51.0, 81.0, 111.0]
