"""Replies from queues of others: what settles a promise, and what is put aside."""

from __future__ import annotations

import json

import pytest

from resonate_amqp.core.model import PromiseState, TaskState
from resonate_amqp.core.requests import TaskAcquire, TaskGet
from tests.core.world import call, settle
from tests.server.callees import LATER, RPC, Callee, asks, opened, outcome, say, success
from tests.server.desk import LEDGER, START, Office
from tests.server.ledgers import Failing, Poisoned


def test_a_call_leaves_as_its_callee_reads_it_and_the_reply_settles_it() -> None:
    office, desk, client = opened()
    celery, rpc = Callee(office), Callee(office, "prices")
    client.ask(desk, asks("c"))
    client.ask(desk, asks("q", RPC))
    [task], [request] = celery.calls(), rpc.calls()
    assert (task.correlation_id, task.reply_to, task.headers["task"]) == (
        "c",
        LEDGER,
        "shop.charge",
    )
    assert json.loads(task.body)[0] == [30]
    assert (request.correlation_id, request.reply_to) == ("q", LEDGER)
    assert json.loads(request.body) == 30
    celery.answer(task, success({"paid": 30}))
    rpc.answer(request, b"12.5")
    desk.work()
    assert outcome(desk, client, "c") == (PromiseState.RESOLVED, {"paid": 30})
    assert outcome(desk, client, "q") == (PromiseState.RESOLVED, 12.5)
    assert office.dead() == []
    task_of = client.ask(desk, TaskGet(id="c")).task
    assert task_of is not None
    assert task_of.state is TaskState.FULFILLED


def test_an_error_of_a_callee_rejects_its_promise() -> None:
    office, desk, client = opened()
    rpc = Callee(office, "prices")
    client.ask(desk, asks("q", RPC))
    [request] = rpc.calls()
    rpc.answer(request, b"", resonate_error="no such article")
    desk.work()
    state, error = outcome(desk, client, "q")
    assert (state, error["message"]) == (PromiseState.REJECTED, "no such article")


def test_what_tells_no_outcome_is_passed_over() -> None:
    office, desk, client = opened()
    celery = Callee(office)
    client.ask(desk, asks("c"))
    [task] = celery.calls()
    for status in ("STARTED", "RETRY", "PROGRESS"):
        celery.answer(task, json.dumps({"status": status, "result": None}).encode())
    desk.work()
    assert outcome(desk, client, "c") == (PromiseState.PENDING, None)
    assert office.dead() == []
    assert office.broker.depth(LEDGER) == 0


@pytest.mark.parametrize(
    ("promise_id", "body", "reason"),
    [
        ("c", b"pong", "result: it is not JSON"),
        ("c", b'{"result": 1}', "result.status"),
        ("q", b"pong", "reply: it is not JSON"),
        ("poll", b"1", "is not settled by a reply"),
        ("nobody", b"1", "'nobody' does not exist"),
        ("a\nb", b"1", "control character"),
        ("x" * 256, b"1", "256 bytes long"),
    ],
)
def test_a_reply_that_settles_nothing_is_put_aside_with_the_reason(
    promise_id: str, body: bytes, reason: str
) -> None:
    office, desk, client = opened()
    client.ask(desk, asks("c"))
    client.ask(desk, asks("q", RPC))
    client.ask(desk, call("poll", LATER))
    say(client.connection, promise_id, body)
    desk.work()
    [dead] = office.dead()
    assert reason in dead["reason"]
    assert dead["body"] == body.decode()
    assert outcome(desk, client, "c")[0] is outcome(desk, client, "q")[0] is PromiseState.PENDING
    say(client.connection, "q", b"1")
    desk.work()
    assert outcome(desk, client, "q") == (PromiseState.RESOLVED, 1)


def test_the_first_reply_counts_and_the_second_is_put_aside() -> None:
    office, desk, client = opened()
    client.ask(desk, asks("q", RPC))
    for body in (b"1", b"2", b"1"):
        say(client.connection, "q", body)
    desk.work()
    assert outcome(desk, client, "q") == (PromiseState.RESOLVED, 1)
    assert [dead["body"] for dead in office.dead()] == ["2", "1"]
    assert "another reply" in office.dead()[0]["reason"]


def test_a_reply_after_the_deadline_is_put_aside() -> None:
    office, desk, client = opened()
    client.ask(desk, asks("q", RPC, START + 5_000))
    desk.run(6_000)
    say(client.connection, "q", b"1")
    desk.work()
    assert outcome(desk, client, "q")[0] is PromiseState.REJECTED_TIMEDOUT
    [dead] = office.dead()
    assert dead["reason"] == ("promise 'q' is rejected_timedout: the reply came after its deadline")


def test_a_reply_that_was_recorded_and_comes_again_unacknowledged_is_no_second_one() -> None:
    """The answer to the commit was lost; the reply goes back to the queue and comes again."""
    office = Office()
    ledger = Failing()
    desk, client = office.service(ledger), office.client()
    client.ask(desk, asks("q", RPC))
    ledger.loses_answers = 1
    say(client.connection, "q", b"1")
    desk.work()
    assert not desk.service.promoted
    desk.run(3_000)
    assert outcome(desk, client, "q") == (PromiseState.RESOLVED, 1)
    assert office.dead() == []


def test_a_reply_is_acknowledged_only_after_it_was_recorded() -> None:
    """The database fails: its callee has answered, and will not do so again."""
    office = Office()
    ledger = Failing()
    desk, client = office.service(ledger), office.client()
    client.ask(desk, asks("q", RPC))
    ledger.down = True
    say(client.connection, "q", b"1")
    desk.work()
    assert not desk.service.promoted
    assert office.broker.depth(LEDGER) == 1
    ledger.down = False
    desk.run(3_000)
    assert outcome(desk, client, "q") == (PromiseState.RESOLVED, 1)
    assert office.broker.depth(LEDGER) == 0


def test_a_reply_about_a_task_that_was_claimed_is_passed_over() -> None:
    """Its holder tells the outcome; what Celery says besides is of no interest."""
    office, desk, client = opened()
    client.ask(desk, asks("c"))
    acquire = TaskAcquire(id="c", version=0, pid="p", ttl=60_000, holder="h")
    assert client.ask(desk, acquire).ok
    for body in (success(1), b"pong"):
        say(client.connection, "c", body)
    desk.work()
    client.ask(desk, settle("c"))
    say(client.connection, "c", success(1))
    desk.work()
    assert outcome(desk, client, "c") == (PromiseState.RESOLVED, None)
    assert office.dead() == []


def test_a_reply_the_ledger_fails_on_is_put_aside_and_the_others_are_recorded() -> None:
    office = Office()
    desk, client = office.service(Poisoned()), office.client()
    client.ask(desk, asks("q", RPC))
    for promise_id in ("poison", "q"):
        say(client.connection, promise_id, b"1")
    desk.work()
    assert outcome(desk, client, "q") == (PromiseState.RESOLVED, 1)
    [dead] = office.dead()
    assert "the ledger failed on it: ZeroDivisionError" in dead["reason"]


def test_requests_may_carry_a_correlation_id() -> None:
    """They have our envelope, and so are no replies."""
    office, desk, client = opened()
    body = b'{"kind": "requests", "version": "2026-04-01", "groups": []}'
    say(client.connection, "q", body)
    say(client.connection, "q", body.replace(b"2026", b"2019"))
    desk.work()
    [dead] = office.dead()
    assert "is not spoken here" in dead["reason"]
