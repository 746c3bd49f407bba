"""Queues of others: what leaves for them, how often, and where nothing may go."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from resonate_amqp.core.effects import Limits
from resonate_amqp.core.model import BRANCH, MIRROR, TARGET, PromiseState, TaskState
from resonate_amqp.core.requests import (
    Request,
    TaskAcquire,
    TaskFence,
    TaskGet,
    TaskHalt,
    TaskRedrive,
    TaskRelease,
)
from resonate_amqp.core.timetable import ScheduleCreate, ScheduleTrigger
from resonate_amqp.ledgers.memory import MemoryLedger
from resonate_amqp.server.foreign import Allowed
from resonate_amqp.wire.codec import encode_call, encode_error
from tests.core.world import call
from tests.server.callees import CELERY, LATER, RPC, Callee, asks, opened, outcome
from tests.server.desk import Client, Desk, Office, executes

BACKSTOP = 300_000


def test_a_queue_that_is_missing_is_told_and_never_made(caplog: pytest.LogCaptureFixture) -> None:
    office, desk, client = opened()
    for number in range(3):
        client.ask(desk, asks(f"c{number}"))
    desk.run(100_000)
    assert "payments" not in office.broker.queues()
    told = [message for message in caplog.messages if "tasks wait for payments" in message]
    assert len(told) == 2
    assert "start what consumes it, or correct celery://payments" in told[0]
    callee = Callee(office)
    desk.run(31_000)
    assert {one.correlation_id for one in callee.calls()} == {"c0", "c1", "c2"}
    assert not any("may arrive there twice" in message for message in caplog.messages)


def test_what_the_broker_has_confirmed_is_never_sent_again() -> None:
    """The callee may be at work, or done; nobody would know that it did it twice."""
    office = Office()
    ledger = MemoryLedger()
    desk, client, callee = office.service(ledger), office.client(), Callee(office)
    client.ask(desk, asks("c"))
    assert len(callee.calls()) == 1
    desk.run(20 * BACKSTOP)
    desk.connection.close()
    office.broker.delete("payments")
    callee = Callee(office)
    successor = office.service(ledger)
    successor.run(20 * BACKSTOP)
    assert callee.calls() == []
    assert outcome(successor, client, "c")[0] is PromiseState.PENDING


def test_the_row_of_a_confirmed_call_is_deleted_at_once() -> None:
    """As long as it is there a new ledger would send the call again."""
    office = Office()
    ledger = MemoryLedger()
    desk, client = office.service(ledger), office.client()
    Callee(office)
    client.ask(desk, asks("c"))
    assert ledger.offers == {}


def test_what_was_not_confirmed_is_sent_again_under_the_same_id_and_said_to_be(
    caplog: pytest.LogCaptureFixture,
) -> None:
    office, desk, client = opened()
    callee = Callee(office)
    desk.connection.refusals = 1
    client.ask(desk, asks("c"))
    assert callee.calls() == []
    desk.run(1_000)
    assert [one.correlation_id for one in callee.calls()] == ["c"]
    assert "the call c is sent to payments again: it may arrive there twice" in caplog.text


def test_a_call_may_be_sent_again_by_hand(caplog: pytest.LogCaptureFixture) -> None:
    office, desk, client = opened()
    callee = Callee(office)
    client.ask(desk, asks("c"))
    assert client.ask(desk, TaskRedrive(id="c")).ok
    assert [one.correlation_id for one in callee.calls()] == ["c", "c"]
    assert "may arrive there twice" in caplog.text


def test_a_claimed_task_of_celery_is_offered_again_like_any_other() -> None:
    office, desk, client = opened()
    callee = Callee(office)
    client.ask(desk, asks("c"))
    acquire = TaskAcquire(id="c", version=0, pid="p", ttl=60_000, holder="h")
    release = TaskRelease(id="c", version=1, holder="h")
    assert client.ask(desk, acquire, release).ok
    first, second = callee.calls()
    assert [one.headers["resonate:version"] for one in (first, second)] == [0, 1]
    desk.run(BACKSTOP + BACKSTOP // 5)
    assert [one.headers["resonate:version"] for one in callee.calls()] == [1]


def test_a_call_that_was_halted_and_goes_on_is_sent() -> None:
    office, desk, client = opened()
    client.ask(desk, asks("c"))
    client.ask(desk, TaskHalt(id="c", reason="stop"))
    callee = Callee(office)
    desk.run(60_000)
    assert callee.calls() == []
    client.ask(desk, TaskRedrive(id="c"))
    assert [one.correlation_id for one in callee.calls()] == ["c"]


def test_a_recorded_call_that_cannot_be_said_halts_its_task_alone() -> None:
    """No ledger of ours records one; another release may have."""
    office = Office()
    ledger = MemoryLedger()
    desk, client, callee = office.service(ledger), office.client(), Callee(office)
    client.ask(desk, asks("c"))
    client.ask(desk, asks("d"))
    callee.calls()
    ledger.promises["c"] = ledger.promises["c"].but(param=encode_error(ValueError("odd")))
    for promise_id in ("c", "d"):
        client.ask(desk, TaskRedrive(id=promise_id))
    desk.work()
    assert [one.correlation_id for one in callee.calls()] == ["d"]
    task = client.ask(desk, TaskGet(id="c")).task
    assert task is not None
    assert task.state is TaskState.HALTED
    assert "cannot be sent to celery://payments" in task.reason


def guarded(office: Office, patterns: str) -> tuple[Desk, Client]:
    """A ledger that may write to these queues, and a client with a task `a` in hand."""
    limits = Limits(refuses=Allowed(patterns).refuses)
    desk, client = office.service(MemoryLedger(limits)), office.client()
    worker = office.worker("a")
    client.ask(desk, call("a", LATER))
    [execute] = executes(worker)
    acquire = TaskAcquire(id="a", version=0, pid="p", ttl=60_000, holder="h", ticket=execute.ticket)
    assert client.ask(desk, acquire).ok
    return desk, client


def fenced(target: str) -> TaskFence:
    return TaskFence(id="a", version=1, holder="h", action=asks("a:1", target))


def scheduled(target: str) -> ScheduleCreate:
    param = encode_call("shop.charge", 1, (30,), {})
    return ScheduleCreate(
        id="nightly", cron="0 3 * * *", param=param, tags={TARGET: target}, timeout_ms=60_000
    )


@pytest.mark.parametrize("made", [asks("c", CELERY), fenced(CELERY), scheduled(CELERY)])
def test_nothing_is_made_for_a_queue_that_the_ledger_may_not_write_to(made: Request) -> None:
    office = Office()
    desk, client = guarded(office, "prices, shop.*")
    allowed = client.group(asks("q", RPC))
    refused = client.group(made)
    client.send(refused, allowed)
    desk.work()
    replies = client.replies()
    [response] = replies[refused.id].responses
    assert response.status == 400
    assert "'payments'" in response.error
    assert "'prices, shop.*'" in response.error
    assert replies[allowed.id].responses[0].status == 200


def test_a_mirror_of_a_call_that_is_not_allowed_is_rejected_with_the_reason() -> None:
    office = Office()
    desk, client = guarded(office, "")
    tags = {TARGET: CELERY, BRANCH: "a", MIRROR: "own-id"}
    create = replace(asks("a:1"), tags=tags)
    assert client.ask(desk, TaskFence(id="a", version=1, holder="h", action=create)).ok
    desk.run(1_000)
    state, error = outcome(desk, client, "a:1")
    assert state is PromiseState.REJECTED
    assert "may not write to the queue 'payments'" in error["message"]


def test_a_schedule_made_before_its_queue_was_forbidden_calls_nobody_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    office = Office()
    desk, client = guarded(office, "*")
    assert client.ask(desk, scheduled(CELERY)).ok
    limits = Limits(refuses=Allowed("prices").refuses)
    assert isinstance(desk.ledger, MemoryLedger)
    desk.ledger._limits = limits
    trigger = ScheduleTrigger(id="nightly", promise_id=f"nightly.{'0' * 15}Z")
    assert client.ask(desk, trigger).status == 400
    desk.run(86_400_000)
    assert not any(one.startswith("nightly.") for one in desk.ledger.promises)
    assert "may not write to the queue 'payments'" in caplog.text


@pytest.mark.parametrize(
    ("patterns", "target", "allowed"),
    [
        ("*", CELERY, True),
        ("payments", CELERY, True),
        ("pay*,x", CELERY, True),
        (" x , payments ", CELERY, True),
        ("Payments", CELERY, False),
        ("", CELERY, False),
        ("celery://payments", CELERY, False),
        ("a b", "queue://a%20b", True),
        ("", "poll://any@a", True),
    ],
)
def test_the_setting_names_queues_by_patterns(patterns: str, target: str, allowed: bool) -> None:
    assert (Allowed(patterns).refuses(target) == "") is allowed


@pytest.mark.parametrize("target", ["celery://resonate.ledger.0", "queue://amq.x", "celery://"])
def test_a_queue_of_ours_is_never_written_to_as_if_it_were_somebody_s(target: str) -> None:
    _, desk, client = opened()
    response = client.ask(desk, asks("c", target))
    assert response.status == 400


def test_a_call_that_its_callee_could_not_be_told_is_refused() -> None:
    _, desk, client = opened()
    both = encode_call("f", 1, (1,), {"b": 2})
    response = client.ask(desk, replace(asks("q", RPC), param=both))
    assert response.status == 400
    assert "not both" in response.error
    assert client.ask(desk, replace(asks("c"), param=both)).ok


def test_a_call_to_a_group_costs_no_look_at_foreign_queues(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    office = Office()
    desk, client = guarded(office, "")
    assert client.ask(desk, call("b", LATER)).ok
    assert not caplog.messages
