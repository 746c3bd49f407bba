"""Who holds the queue: not a ledger that nobody can hear, and no more than one at a time."""

from __future__ import annotations

import logging

import pytest

from resonate_amqp.ledgers.memory import MemoryLedger
from resonate_amqp.ports import Blocked, Delivery
from resonate_amqp.server.health import PROBE_EVERY_MS, UNFIT_AFTER_MS
from resonate_amqp.server.intake import PROBE
from tests.core.world import external
from tests.server.desk import LEDGER, START, Desk, Office
from tests.server.ledgers import Failing, Shared

LATER = START + 3_600_000


def leaving(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if "confirmed" in one.getMessage()]


def promoted(desk: Desk) -> bool:
    return desk.service.promoted


def test_a_ledger_that_nobody_can_hear_leaves_its_queue_to_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    office = Office()
    shared = Shared()
    first, second = office.service(shared), office.service(Shared(shared))
    client = office.client()
    assert [promoted(one) for one in (first, second)] == [True, False]
    first.connection.mute = True
    first.run(UNFIT_AFTER_MS - PROBE_EVERY_MS)
    assert promoted(first)
    with caplog.at_level(logging.ERROR):
        first.run(2 * PROBE_EVERY_MS)
    assert not promoted(first)
    assert len(leaving(caplog)) == 1
    group = client.group(external("a", LATER))
    client.send(group)
    second.work()
    assert promoted(second)
    assert client.replies().keys() == {group.id}


def test_it_takes_the_queue_again_only_once_it_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    office = Office()
    desk, client = office.service(), office.client()
    desk.connection.mute = True
    with caplog.at_level(logging.INFO):
        desk.run(60_000)
    assert not promoted(desk)
    assert len(leaving(caplog)) == 1
    assert len(caplog.records) < 10
    desk.connection.mute = False
    desk.run(2 * PROBE_EVERY_MS)
    assert client.ask(desk, external("a", LATER)).status == 200


def test_a_database_that_fails_meanwhile_keeps_it_out_too() -> None:
    office = Office()
    ledger = Failing()
    desk, client = office.service(ledger), office.client()
    desk.connection.mute = ledger.down = True
    desk.run(2 * UNFIT_AFTER_MS)
    desk.connection.mute = False
    desk.run(2 * UNFIT_AFTER_MS)
    assert not promoted(desk)
    ledger.down = False
    desk.run(2 * PROBE_EVERY_MS)
    assert client.ask(desk, external("a", LATER)).status == 200


def test_a_broker_that_blocks_publishers_is_waited_for() -> None:
    """Every ledger is blocked then: to leave would help nobody."""
    office = Office()
    desk, client = office.service(), office.client()
    block(desk, True)
    group = client.group(external("a", LATER))
    client.send(group)
    desk.run(10 * UNFIT_AFTER_MS)
    assert promoted(desk)
    assert client.replies() == {}
    block(desk, False)
    desk.work()
    assert client.replies().keys() == {group.id}


def test_a_probe_that_was_under_way_when_publishers_were_blocked_counts_for_nothing() -> None:
    """The broker did not read it, and reads it when it unblocks."""
    office = Office()
    desk = office.service()
    desk.connection.mute = True
    desk.run(2 * PROBE_EVERY_MS)
    block(desk, True)
    desk.run(10 * UNFIT_AFTER_MS)
    assert promoted(desk)
    block(desk, False)
    desk.run(UNFIT_AFTER_MS - PROBE_EVERY_MS)
    assert promoted(desk)
    desk.run(2 * PROBE_EVERY_MS)
    assert not promoted(desk)


def test_no_batch_is_taken_while_publishers_are_blocked() -> None:
    office = Office()
    ledger = MemoryLedger()
    desk, client = office.service(ledger), office.client()
    block(desk, True)
    client.send(client.group(external("a", LATER)))
    desk.run(UNFIT_AFTER_MS)
    assert ledger.promises == {}


def test_after_a_reconnection_it_waits_for_its_database_before_it_takes_the_queue() -> None:
    office = Office()
    ledger = Failing()
    desk, client = office.service(ledger), office.client()
    ledger.down = True
    group = client.group(external("a", LATER))
    client.send(group)
    desk.work()
    for _ in range(3):
        desk.connection.cut()
        desk.connection.reconnect()
        desk.run(PROBE_EVERY_MS)
    rival = office.service(MemoryLedger())
    assert promoted(rival)
    assert client.replies().keys() == {group.id}


def test_a_process_that_was_stopped_does_not_blame_the_broker() -> None:
    office = Office()
    desk = office.service()
    desk.connection.mute = True
    desk.run(PROBE_EVERY_MS)
    desk.clock.passed += 60_000
    desk.turn()
    assert promoted(desk)


def test_a_standby_says_once_that_it_stands_by(caplog: pytest.LogCaptureFixture) -> None:
    office = Office()
    shared = Shared()
    with caplog.at_level(logging.INFO):
        first = office.service(shared)
        first.run(10_000)
        assert not any("standing by" in one.getMessage() for one in caplog.records)
        second = office.service(Shared(shared))
        for _ in range(10):
            second.run(1_000)
            first.work()
    said = [one.getMessage() for one in caplog.records if "standing by" in one.getMessage()]
    assert said == [f"standing by: another ledger takes what comes to {LEDGER}"]


def test_a_delivery_of_an_earlier_time_promotes_nobody() -> None:
    office = Office()
    ledger = Failing()
    desk, client = office.service(ledger), office.client()
    ledger.down = True
    client.send(client.group(external("a", LATER)))
    desk.work()
    assert not promoted(desk)
    desk.connection.push(Delivery(LEDGER, PROBE, None))
    rival = office.service(MemoryLedger())
    ledger.down = False
    desk.run(PROBE_EVERY_MS)
    assert not promoted(desk)
    assert promoted(rival)


def block(desk: Desk, blocked: bool) -> None:
    """What the broker says when it runs out of memory, and when it has some again."""
    desk.connection.blocked = blocked
    desk.connection.push(Blocked(blocked))
    desk.work()
