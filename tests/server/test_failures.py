"""The ledger service when something fails: nothing is lost, nothing is answered too early."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from resonate_amqp.core.model import TaskState
from resonate_amqp.core.requests import OriginGet, PromiseGet, PromiseRegisterListener
from resonate_amqp.ledgers import schema
from resonate_amqp.ledgers.memory import MemoryLedger
from resonate_amqp.ledgers.sql import SqlLedger
from resonate_amqp.wire.address import DEAD_QUEUE
from resonate_amqp.wire.envelope import MAX_MESSAGE_BYTES
from tests.core.world import call, external, settle, timer
from tests.ledgers.commits import commits_fail
from tests.server.desk import LEDGER, START, Office, executes
from tests.server.ledgers import Failing, Poisoned, Shared
from tests.wire.messages import asking, message, step

LATER = START + 3_600_000


def test_a_message_that_is_no_json_is_put_aside_and_its_neighbours_are_answered() -> None:
    office = Office()
    desk, client = office.service(), office.client()
    before, after = client.group(external("a", LATER)), client.group(external("b", LATER))
    client.send(before)
    client.send_raw(b"{nonsense")
    client.send(after)
    desk.work()
    assert client.replies().keys() == {before.id, after.id}
    [dead] = office.dead()
    assert dead["body"] == "{nonsense"
    assert dead["reason"].startswith("message: it is not JSON")
    assert dead["queue"] == LEDGER
    desk.connection.close()
    assert office.broker.depth(LEDGER) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"kind":"probe"',
        b'{"kind":"execute"}',
        message(groups=[3]),
        b" " * (MAX_MESSAGE_BYTES + 1),
        asking(step("promise.get", id="@")).replace(b"@", b"\\ud800"),
    ],
    ids=["empty", "utf-8", "depth", "probe", "kind", "group", "size", "surrogate"],
)
def test_whatever_cannot_be_read_is_put_aside_once_and_the_service_goes_on(body: bytes) -> None:
    office = Office()
    desk, client = office.service(), office.client()
    client.send_raw(body)
    desk.run(10_000)
    assert len(office.dead()) == 1
    assert client.ask(desk, external("a", LATER)).status == 200


def test_an_unknown_request_is_answered_with_its_name() -> None:
    office = Office()
    desk, client = office.service(), office.client()
    client.send_raw(asking(step("promise.frobnicate", id="a")))
    desk.work()
    [answer] = client.replies()["g1"].responses
    assert answer.status == 400
    assert "'promise.frobnicate' is no request of this protocol" in answer.error
    assert office.dead() == []


def test_requests_nested_without_end_are_answered() -> None:
    office = Office()
    desk, client = office.service(), office.client()
    nested = step("promise.get", id="a")
    for _ in range(400):
        nested = step("task.fence", id="a", version=1, holder="h", action=nested)
    client.send_raw(asking(nested))
    desk.work()
    assert client.replies()["g1"].responses[0].status == 400


def test_a_group_the_ledger_fails_on_is_answered_500_and_put_aside_alone() -> None:
    office = Office()
    desk, client = office.service(Poisoned()), office.client()
    good, bad, last = (client.group(external(name, LATER)) for name in ("a", "poison", "b"))
    client.send(good)
    client.send(bad)
    client.send(last)
    desk.work()
    statuses = {group: reply.responses[0].status for group, reply in client.replies().items()}
    assert statuses == {good.id: 200, bad.id: 500, last.id: 200}
    [dead] = office.dead()
    assert "poison" in dead["body"]
    assert "ZeroDivisionError: poison" in dead["reason"]
    desk.connection.close()
    assert office.broker.depth(LEDGER) == 0


def test_the_neighbours_of_a_poisonous_group_in_its_message_are_answered() -> None:
    office = Office()
    desk, client = office.service(Poisoned()), office.client()
    groups = [client.group(external(name, LATER)) for name in ("a", "poison", "b")]
    client.send(*groups)
    desk.work()
    replies = client.replies()
    assert [replies[group.id].responses[0].status for group in groups] == [200, 500, 200]
    assert len(office.dead()) == 1


def test_a_timer_the_ledger_fails_on_keeps_nothing_else_from_its_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    office = Office()
    ledger = Poisoned()
    ledger.poison = ""
    desk, client = office.service(ledger), office.client()
    client.ask(desk, timer("poison", START + 500))
    client.ask(desk, timer("a", START + 600))
    ledger.poison = "poison"
    desk.turns = 0
    with caplog.at_level(logging.ERROR):
        desk.run(10_000)
    assert not ledger.promises["a"].pending
    assert client.ask(desk, external("b", LATER)).status == 200
    assert desk.turns < 200
    assert len(caplog.records) < 30


def test_a_tree_the_ledger_fails_on_is_answered_500() -> None:
    office = Office()
    ledger = Poisoned()
    desk, client = office.service(ledger), office.client()
    bad, good = client.group(OriginGet("poison")), client.group(external("a", LATER))
    client.send(bad, good)
    desk.work()
    replies = client.replies()
    assert replies[good.id].responses[0].status == 200
    assert replies[bad.id].responses[0].status == 500


def test_while_the_database_does_not_answer_nothing_is_acknowledged() -> None:
    office = Office()
    ledger = Failing()
    desk, client = office.service(ledger), office.client()
    ledger.down = True
    groups = [client.group(external(name, LATER)) for name in "abc"]
    for group in groups:
        client.send(group)
    desk.work()
    assert client.replies() == {}
    assert not desk.service.promoted
    assert office.broker.depth(LEDGER) >= 3
    desk.run(10_000)
    assert 5 <= ledger.trials <= 11
    assert client.replies() == {}
    ledger.down = False
    desk.run(1_100)
    assert client.replies().keys() == {group.id for group in groups}
    assert list(ledger.promises) == ["a", "b", "c"]


def test_nothing_is_answered_or_acknowledged_while_every_commit_fails(tmp_path: Path) -> None:
    """Everything before the COMMIT succeeds, so that the answers are known already."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    schema.prepare(url)
    ledger = SqlLedger(url)
    office = Office()
    desk, client, worker = office.service(ledger), office.client(), office.worker("a")
    assert client.ask(desk, external("before", LATER)).ok
    group = client.group(call("a", LATER))
    with commits_fail(ledger):
        client.send(group)
        desk.run(5_000)
        assert not desk.service.promoted
        assert office.broker.depth(LEDGER) >= 1
    assert (client.replies(), executes(worker)) == ({}, [])
    desk.run(1_100)
    assert client.replies().keys() == {group.id}
    assert [execute.promise.id for execute in executes(worker)] == ["a"]
    ledger.close()


def test_a_failing_database_is_no_hot_loop(caplog: pytest.LogCaptureFixture) -> None:
    office = Office()
    ledger = Failing()
    desk, client = office.service(ledger), office.client()
    ledger.down = True
    client.send(client.group(external("a", LATER)))
    desk.turns = 0
    with caplog.at_level(logging.INFO):
        desk.run(10_000)
    assert desk.turns < 100
    assert len(caplog.records) < 50


def test_another_ledger_is_elected_while_the_first_has_no_database() -> None:
    office = Office()
    broken = Failing()
    first, second, client = office.service(broken), office.service(), office.client()
    assert [desk.service.promoted for desk in (first, second)] == [True, False]
    broken.down = True
    client.send(client.group(external("a", LATER)))
    first.work()
    second.work()
    assert [desk.service.promoted for desk in (first, second)] == [False, True]
    assert len(client.replies()) == 1


def test_a_commit_of_unknown_outcome_is_repeated_and_answered_as_it_was_first() -> None:
    office = Office()
    ledger = Failing()
    desk, client = office.service(ledger), office.client()
    client.ask(desk, external("a", LATER), listening("a", client.address))
    ledger.loses_answers = 1
    group = client.group(settle("a"))
    client.send(group)
    desk.work()
    assert client.heard() == []
    assert not ledger.promises["a"].pending
    desk.run(1_100)
    messages = client.heard()
    [answer] = [r for one in messages for reply in one.replies for r in reply.responses]
    assert answer.applied
    assert [promise.id for one in messages for promise in one.unblocked] == ["a"]


def test_a_database_that_is_gone_at_promotion_is_tried_again() -> None:
    office = Office()
    ledger = Failing()
    ledger.down = True
    desk, client = office.service(ledger), office.client()
    group = client.group(external("a", LATER))
    client.send(group)
    desk.run(3_000)
    assert not desk.service.promoted
    ledger.down = False
    desk.run(2_000)
    assert client.replies().keys() == {group.id}


def test_a_superseded_ledger_stands_by_and_its_rival_answers() -> None:
    office = Office()
    shared = Shared()
    first, client = office.service(shared), office.client()
    client.ask(first, external("a", LATER))
    rival = Shared(shared)
    rival.promote(START)
    group = client.group(PromiseGet(id="a"))
    client.send(group)
    first.work()
    assert not first.service.promoted
    assert client.replies() == {}
    second = office.service(rival)
    first.run(3_000)
    second.run(0)
    assert second.service.promoted
    assert not first.service.promoted
    assert client.replies().keys() == {group.id}


def test_a_dead_letter_that_was_not_taken_is_sent_again() -> None:
    office = Office()
    desk, client = office.service(), office.client()
    desk.connection.refusals = 3
    client.send_raw(b"{")
    desk.run(10_000)
    assert len(office.dead()) == 1
    desk.connection.close()
    assert office.broker.depth(LEDGER) == 0


def test_a_missing_dead_letter_queue_is_made_again() -> None:
    office = Office()
    desk, client = office.service(), office.client()
    office.broker.delete(DEAD_QUEUE)
    client.send_raw(b"{")
    desk.run(3_000)
    assert len(office.dead()) == 1
    desk.connection.close()
    assert office.broker.depth(LEDGER) == 0


def test_where_it_may_not_make_a_dead_letter_queue_the_service_keeps_the_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    office = Office()
    office.service().connection.close()
    office.broker.delete(DEAD_QUEUE)
    desk, client = office.service(declare=False), office.client()
    client.send_raw(b"{")
    desk.turns = 0
    with caplog.at_level(logging.INFO):
        desk.run(10_000)
    assert desk.turns < 100
    assert len(caplog.records) < 50
    assert client.ask(desk, external("a", LATER)).status == 200
    desk.connection.close()
    assert b"{" in office.broker.bodies(LEDGER)
    office.service().run(1_000)
    assert len(office.dead()) == 1


def test_a_lost_consumer_is_replaced() -> None:
    office = Office()
    desk, client = office.service(), office.client()
    office.broker.delete(LEDGER)
    desk.run(2_000)
    assert client.ask(desk, external("a", LATER)).status == 200


def test_a_cut_connection_loses_no_request_and_answers_each_once() -> None:
    office = Office()
    ledger = MemoryLedger()
    desk, client = office.service(ledger), office.client()
    for number in range(50):
        client.send(client.group(call(f"p{number}", LATER)))
    desk.connection.cut()
    desk.run(500)
    desk.connection.reconnect()
    desk.work()
    assert len(client.replies()) == 50
    assert len(ledger.promises) == 50
    assert {task.state for task in ledger.tasks.values()} == {TaskState.PENDING}


def listening(promise_id: str, address: str) -> PromiseRegisterListener:
    return PromiseRegisterListener(awaited=promise_id, address=address)


@pytest.mark.parametrize(
    "rest",
    [
        b'"replies":[{"id":[],"results":[]}],"unblocks":[]}',
        b'"replies":[],"unblocks":[{"data":{"promise":{"id":[],"state":"resolved","param":{},'
        b'"value":{},"tags":{},"timeoutAt":1,"createdAt":1}}}]}',
    ],
    ids=["reply", "unblock"],
)
def test_answers_that_make_no_sense_stop_nothing(rest: bytes) -> None:
    office = Office()
    desk, client = office.service(), office.client()
    client.send_raw(b'{"kind":"replies","version":"2026-04-01","now":1,' + rest)
    desk.work()
    assert client.ask(desk, external("a", LATER)).status == 200
    desk.connection.close()
    assert office.broker.depth(LEDGER) == 0
