"""Two ledgers whose clocks disagree, on one database: time goes on, and never back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resonate_amqp.core.model import Promise, TaskState
from resonate_amqp.core.requests import Request, TaskGet
from resonate_amqp.ledgers import schema
from resonate_amqp.ledgers.sql import SqlLedger
from tests.core.world import acquire, call, external, settle
from tests.server.desk import START, Client, Desk, Office

HOUR = 3_600_000
LATER = START + 10 * HOUR
TTL = 60_000

Rivals = Callable[[int], Desk]


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def ledger(request: pytest.FixtureRequest, tmp_path: Path, office: Office) -> Iterator[Rivals]:
    """Starts ledgers on one database, whose clocks are behind by so much."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'ledger.db'}"
        schema.prepare(url)
    else:
        url = request.getfixturevalue("postgres_url")
    opened: list[SqlLedger] = []

    def start(behind: int) -> Desk:
        opened.append(SqlLedger(url))
        return office.service(opened[-1], behind=behind)

    yield start
    for one in opened:
        one.close()


@pytest.fixture
def client(office: Office) -> Client:
    return office.client()


def made(client: Client, desk: Desk, request: Request) -> Promise:
    promise = client.ask(desk, request).promise
    assert promise is not None
    return promise


def test_a_slower_clock_takes_no_time_back(ledger: Rivals, client: Client) -> None:
    first, second = ledger(0), ledger(HOUR)
    made(client, first, external("a", LATER))
    first.run(1_500)
    before = made(client, first, external("b", LATER))
    first.connection.close()
    after = made(client, second, external("c", LATER))
    second.run(1_500)
    ended = made(client, second, settle("a"))
    assert second.service.promoted
    assert before.created_at == START + 1_500
    assert after.created_at >= before.created_at
    assert ended.settled_at is not None
    assert ended.settled_at >= after.created_at + 1_500


def test_time_goes_on_under_a_slower_clock_when_nobody_asks_for_anything(
    ledger: Rivals, client: Client
) -> None:
    """What is due after five seconds is not kept waiting for an hour."""
    first, second = ledger(0), ledger(HOUR)
    made(client, first, external("a", START + 5_000))
    first.connection.close()
    second.run(4_000)
    assert second.service.promoted
    assert rows(second, "a")[0].pending
    second.run(2_000)
    assert not rows(second, "a")[0].pending


def test_a_lease_outlives_a_promotion_under_a_slower_clock(ledger: Rivals, client: Client) -> None:
    """Its holder could not be heard while nobody was promoted: it has its time from then on."""
    first, second = ledger(0), ledger(HOUR)
    client.ask(first, call("a", LATER), acquire("a", ttl=TTL))
    first.connection.close()
    first.clock.passed += TTL - 1_000
    second.run(5_000)
    assert second.service.promoted
    for _ in range(2):
        assert state(client, second, "a") is TaskState.ACQUIRED
        second.run(1_000)
    second.run(TTL)
    assert state(client, second, "a") is TaskState.PENDING


def test_a_clock_that_was_ahead_is_caught_up_with(ledger: Rivals, client: Client) -> None:
    ahead, second = ledger(-HOUR), ledger(0)
    before = made(client, ahead, external("a", LATER))
    ahead.connection.close()
    after = made(client, second, external("b", LATER))
    second.run(1_500)
    last = made(client, second, external("c", LATER))
    assert START + HOUR <= before.created_at <= after.created_at <= last.created_at - 1_500


def rows(desk: Desk, origin: str) -> list[Promise]:
    return [promise for promise, _ in desk.ledger.tree(origin, 9)]


def state(client: Client, desk: Desk, task_id: str) -> TaskState:
    task = client.ask(desk, TaskGet(id=task_id)).task
    assert task is not None
    return task.state
