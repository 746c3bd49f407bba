"""The backstop: a task whose message is gone is offered again, and no other."""

from __future__ import annotations

import pytest

from resonate_amqp.core.requests import TaskAcquire, TaskRedrive
from resonate_amqp.server import backstop
from resonate_amqp.wire.address import any_queue
from resonate_amqp.wire.topology import target_queue
from tests.core.world import call
from tests.server.desk import START, Client, Desk, Office, deliveries, executes

LATER = START + 86_400_000
BACKSTOP = 300_000
HOLD_MAX = 600_000
WORK = any_queue("a")


def opened() -> tuple[Office, Desk, Client]:
    office = Office()
    office.broker.connect().declare(target_queue("poll://any@a", "classic"))
    return office, office.service(), office.client()


def purge(office: Office) -> None:
    taker = office.worker("a")
    taker.ack(deliveries(taker))
    taker.close()


def test_a_task_whose_queue_was_purged_is_offered_again_as_a_repetition() -> None:
    office, desk, client = opened()
    client.ask(desk, call("r", LATER))
    desk.run(1_000)
    purge(office)
    assert office.broker.depth(WORK) == 0
    desk.run(BACKSTOP - 2_000)
    assert office.broker.depth(WORK) == 0
    desk.run(BACKSTOP // 5)
    [execute] = executes(office.worker())
    assert (execute.promise.id, execute.version, execute.repeat) == ("r", 0, True)


def test_a_task_whose_queue_was_deleted_is_offered_in_a_new_one() -> None:
    office, desk, client = opened()
    client.ask(desk, call("r", LATER))
    desk.run(1_000)
    office.broker.delete(WORK)
    desk.run(BACKSTOP + BACKSTOP // 5)
    assert [one.promise.id for one in executes(office.worker())] == ["r"]


def test_a_task_that_waits_in_its_queue_is_left_alone() -> None:
    office, desk, client = opened()
    client.ask(desk, call("r", LATER))
    desk.run(20 * BACKSTOP)
    assert office.broker.depth(WORK) == 1


def test_a_task_passed_over_by_one_offered_much_later_is_offered_again() -> None:
    """Its queue is not empty, but what was behind it has come out: its own message is gone."""
    office, desk, client = opened()
    client.ask(desk, call("lost", LATER))
    purge(office)
    client.ask(desk, call("waits", LATER))
    desk.run(HOLD_MAX + 1_000)
    client.ask(desk, call("young", LATER))
    desk.run(BACKSTOP)
    worker = office.worker()
    offered = {one.promise.id: one for one in executes(worker)}
    assert offered.keys() == {"waits", "young"}
    worker.close()
    ticket = offered["young"].ticket
    acquire = TaskAcquire(id="young", version=0, pid="p", ttl=600_000, holder="h", ticket=ticket)
    assert client.ask(desk, acquire).status == 200
    desk.run(BACKSTOP)
    assert "lost" in {one.promise.id for one in executes(office.worker())}


def test_a_task_offered_in_vain_is_offered_ever_less_often() -> None:
    office, desk, client = opened()
    client.ask(desk, call("r", LATER))
    offers = []
    for _ in range(40):
        desk.run(BACKSTOP)
        taker = office.worker()
        taken = executes(taker)
        offers.extend(taken)
        taker.close()
        purge(office)
    assert 4 <= len(offers) <= 9


def test_another_ledger_s_backstop_starts_afresh_after_a_promotion() -> None:
    office, desk, client = opened()
    client.ask(desk, call("r", LATER))
    desk.run(1_000)
    purge(office)
    desk.connection.cut()
    rival = office.service(desk.ledger)
    rival.run(BACKSTOP + BACKSTOP // 5)
    assert [one.promise.id for one in executes(office.worker())] == ["r"]


def test_a_redrive_offers_a_pending_task_at_once() -> None:
    office, desk, client = opened()
    client.ask(desk, call("r", LATER))
    desk.run(1_000)
    purge(office)
    assert client.ask(desk, TaskRedrive(id="r")).status == 200
    assert [one.repeat for one in executes(office.worker())] == [True]


def test_a_leased_task_is_never_offered_by_the_backstop() -> None:
    office, desk, client = opened()
    client.ask(desk, call("r", LATER))
    worker = office.worker()
    [execute] = executes(worker)
    acquire = TaskAcquire(
        id="r", version=0, pid="p", ttl=50_000_000, holder="h", ticket=execute.ticket
    )
    assert client.ask(desk, acquire).status == 200
    desk.run(10 * BACKSTOP)
    assert executes(worker) == []


def test_many_that_wait_do_not_hide_one_whose_message_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backstop, "MOST", 5)
    office, desk, client = opened()
    for number in range(12):
        client.ask(desk, call(f"waits-{number}", LATER, target="poll://any@nobody"))
    desk.run(10)
    client.ask(desk, call("lost", LATER))
    purge(office)
    desk.run(2 * BACKSTOP)
    assert [one.promise.id for one in executes(office.worker())] == ["lost"]
