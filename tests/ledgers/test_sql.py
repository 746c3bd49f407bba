"""What only a database can do wrong: lose what was committed, or keep half of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import insert, text

from resonate_amqp.core.batch import Batch
from resonate_amqp.core.model import Promise, Value
from resonate_amqp.core.requests import Group, PromiseCreate, PromiseGet, Request, Response
from resonate_amqp.errors import LedgerUnavailable
from resonate_amqp.ledgers import records
from resonate_amqp.ledgers.database import connect
from resonate_amqp.ledgers.sql import SqlLedger
from resonate_amqp.ledgers.tables import promise_row, promises
from tests.core.world import (
    DEADLINE,
    NOW,
    World,
    acquire,
    call,
    callback,
    external,
    fence,
    listener,
    release,
    settle,
    suspend,
)
from tests.ledgers.commits import commits_fail

Open = Callable[[], SqlLedger]


@pytest.fixture
def ledger(opened: Open) -> SqlLedger:
    made = opened()
    made.promote(NOW)
    return made


def ask(ledger: SqlLedger, *requests: Request, clock: int = NOW) -> list[Response]:
    groups = [Group(id=f"g{n}", steps=(request,)) for n, request in enumerate(requests)]
    return [responses[0] for responses in ledger.apply(Batch(groups=groups), clock).answers]


def found(ledger: SqlLedger, promise_id: str) -> Promise | None:
    return ask(ledger, PromiseGet(id=promise_id))[0].promise


@pytest.mark.parametrize(
    ("pragma", "value"), [("synchronous", 2), ("journal_mode", "wal"), ("busy_timeout", 5_000)]
)
def test_a_connection_is_power_safe(sqlite_url: str, pragma: str, value: object) -> None:
    connection = connect(sqlite_url)
    try:
        assert connection.execute(text(f"PRAGMA {pragma}")).scalar() == value
    finally:
        connection.close()
        connection.engine.dispose()


def test_a_ledger_that_stands_by_reads_what_the_promoted_one_wrote(opened: Open) -> None:
    ledger, other = opened(), opened()
    ledger.promote(NOW)
    ask(ledger, external("a"))
    assert [promise.id for promise, _ in other.tree("a", 10)] == ["a"]


UNSTORABLE = r"(?i)too large|out of range|surrogates|utf-8"
BROKEN: dict[str, PromiseCreate] = {
    "an integer beyond 64 bits": external("b", 2**63),
    "a lone surrogate in an id": external("b\ud800"),
    "a lone surrogate in a value": replace(external("b"), param=Value({}, "\udfff")),
    "a lone surrogate in a header": replace(external("b"), param=Value({"k": "\udfff"}, "")),
    "a lone surrogate in a tag": call("b", color="\ud800"),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_a_batch_that_cannot_be_stored_leaves_nothing_behind(
    ledger: SqlLedger, broken: PromiseCreate
) -> None:
    ask(ledger, call("r"))
    before = found(ledger, "r")
    with pytest.raises(Exception, match=UNSTORABLE):
        ask(ledger, settle("r"), external("a"), broken, clock=NOW + 50)
    assert (found(ledger, "r"), found(ledger, "a")) == (before, None)
    assert ledger.tree("a", 10) == ledger.tree("b", 10) == []


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_the_batch_after_one_that_cannot_be_stored_is_recorded(
    ledger: SqlLedger, opened: Open, broken: PromiseCreate
) -> None:
    with pytest.raises(Exception, match=UNSTORABLE):
        ask(ledger, broken)
    assert ask(ledger, call("a"), acquire("a"))[-1].status == 200
    again = opened()
    again.promote(NOW)
    assert ask(again, settle("a"))[0].status == 200


def test_a_lease_beyond_64_bits_leaves_the_task_pending(ledger: SqlLedger) -> None:
    ask(ledger, call("a"))
    with pytest.raises(Exception, match=UNSTORABLE):
        ask(ledger, acquire("a", ttl=2**63 - 1))
    assert ask(ledger, acquire("a"))[0].status == 200


def test_a_batch_whose_commit_fails_is_not_answered_and_leaves_nothing_behind(
    sqlite_url: str,
) -> None:
    """Nothing before the COMMIT fails: it alone proves that anything was recorded."""
    ledger, other = SqlLedger(sqlite_url), SqlLedger(sqlite_url)
    ledger.promote(NOW)
    ask(ledger, external("a"))
    with commits_fail(ledger):
        with pytest.raises(LedgerUnavailable, match="cannot be used"):
            ask(ledger, settle("a"), external("b"), clock=NOW + 50)
        with pytest.raises(LedgerUnavailable, match="cannot be used"):
            ledger.trial()
    ledger.trial()
    assert [promise.pending for promise, _ in other.tree("a", 10)] == [True]
    assert ledger.tree("b", 10) == other.tree("b", 10) == []
    assert ask(ledger, settle("a"), external("b"))[0].applied
    assert [promise.pending for promise, _ in other.tree("a", 10)] == [False]
    ledger.close()
    other.close()


IMPATIENCE = {"sqlite": "PRAGMA busy_timeout=1", "postgresql": "SET lock_timeout='1ms'"}


@pytest.fixture
def locked(url: str, ledger: SqlLedger) -> Iterator[None]:
    """Another process writes, and does not come to an end."""
    with ledger._connection.begin():
        ledger._connection.execute(text(IMPATIENCE[ledger._connection.dialect.name]))
    rival = connect(url)
    with rival.begin():
        rival.execute(text("UPDATE ledger_queues SET now = now"))
        yield
    rival.close()
    rival.engine.dispose()


def test_a_database_that_another_process_locks_is_unavailable(
    ledger: SqlLedger, locked: None
) -> None:
    with pytest.raises(LedgerUnavailable, match="lock"):
        ask(ledger, external("a"))


def test_a_row_that_appeared_by_itself_is_reported_and_read_again(
    ledger: SqlLedger, url: str
) -> None:
    assert found(ledger, "a") is None
    world = World()
    world.ask(external("a"), "g0")
    world.ask(settle("a"), "g0")
    rival = connect(url)
    with rival.begin():
        rival.execute(insert(promises), promise_row(world.promise("a")))
    rival.close()
    rival.engine.dispose()
    with pytest.raises(LedgerUnavailable, match="nobody else may write"):
        ask(ledger, external("a"))
    again = found(ledger, "a")
    assert again is not None
    assert not again.pending


def test_a_database_that_went_away_is_unavailable_until_a_trial_succeeds(
    sqlite_url: str, tmp_path: Path
) -> None:
    ledger = SqlLedger(sqlite_url)
    ledger.promote(NOW)
    ask(ledger, external("a"))
    home, away = tmp_path / "ledger.db", tmp_path / "away"
    ledger.close()
    away.mkdir()
    for file in tmp_path.glob("ledger.db*"):
        file.rename(away / file.name)
    home.mkdir()
    for _ in range(2):
        with pytest.raises(LedgerUnavailable):
            ledger.trial()
        with pytest.raises(LedgerUnavailable):
            ask(ledger, settle("a"))
    home.rmdir()
    for file in away.iterdir():
        file.rename(tmp_path / file.name)
    ledger.trial()
    assert ask(ledger, settle("a"))[0].status == 200
    ledger.close()


def test_awaiters_nested_2000_deep_end_together_at_their_deadlines(ledger: SqlLedger) -> None:
    depth = 2_000
    groups = []
    for number in range(depth, -1, -1):
        task_id = f"r{number}"
        steps: list[Request] = [call(task_id, 5_000), acquire(task_id)]
        if number < depth:
            steps.append(suspend(task_id, f"r{number + 1}"))
        groups.append(Group(id=task_id, steps=tuple(steps)))
    ledger.apply(Batch(groups=groups), NOW)
    ledger.promote(5_000)
    assert found(ledger, f"r{depth}") is not None
    assert ledger.due_before(DEADLINE, 10) == []


def test_a_record_that_was_forgotten_is_read_again_within_its_transaction(
    ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "KEPT", 1)
    ask(ledger, call("r"), acquire("r"), external("x"), callback("x", "r"))
    ask(ledger, suspend("r", "x"))
    outcome = ledger.apply(Batch(groups=[Group(id="g", steps=(settle("x"),))]), NOW)
    assert [execute.promise.id for execute in outcome.executes] == ["r"]
    assert ask(ledger, acquire("r", 1, "h2", "t2"))[0].status == 200


def test_a_ledger_remembers_no_more_than_it_should(ledger: SqlLedger) -> None:
    large = Value({}, "x" * (records.SMALL + 1))
    ask(ledger, external("a"), replace(settle("a"), value=large), external("b"))
    assert set(ledger._records._known) == {"b"}
    assert found(ledger, "a") is not None


def test_the_ledger_keeps_what_the_machine_says(ledger: SqlLedger) -> None:
    world = World()
    story: list[Request] = [
        call("r"),
        acquire("r"),
        fence("r", external("r:1")),
        listener("r:1"),
        suspend("r", "r:1"),
        settle("r:1"),
        acquire("r", 1, "h2", "t2"),
        release("r", 2, "h2", delay=50),
    ]
    for request in story:
        world.ask(request, "g0")
        ask(ledger, request)
    ledger.promote(NOW)
    assert found(ledger, "r:1") == world.promise("r:1")
    assert ledger.tree("r", 10)[0][1] == world.task("r")
