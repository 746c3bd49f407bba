"""What only PostgreSQL can do wrong: fall silent, cut a connection, lose the answer to a COMMIT."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from sqlalchemy import text

from resonate_amqp.core.batch import Batch, Outcome
from resonate_amqp.core.model import Promise, PromiseState, TaskState, Value
from resonate_amqp.core.requests import Group, PromiseGet, Request, Response
from resonate_amqp.dev.postgres import PrivatePostgres
from resonate_amqp.errors import LedgerUnavailable, Superseded
from resonate_amqp.ledgers import postgres as driver
from resonate_amqp.ledgers import schema
from resonate_amqp.ledgers.database import connect
from resonate_amqp.ledgers.sql import SqlLedger
from tests.core.world import NOW, acquire, call, external, listener, settle
from tests.ledgers.proxy import Cut, Proxy

pytestmark = pytest.mark.postgres


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[Proxy]:
    made = Proxy(postgres_url)
    yield made
    made.close()


@pytest.fixture
def ledger(proxy: Proxy) -> Iterator[SqlLedger]:
    """A promoted ledger behind the proxy."""
    made = SqlLedger(proxy.url)
    made.promote(NOW)
    yield made
    made.close()


def apply(ledger: SqlLedger, *requests: Request, clock: int = NOW) -> Outcome:
    groups = [Group(id=f"g{n}", steps=(request,)) for n, request in enumerate(requests)]
    return ledger.apply(Batch(groups=groups), clock)


def ask(ledger: SqlLedger, *requests: Request, clock: int = NOW) -> list[Response]:
    return [responses[0] for responses in apply(ledger, *requests, clock=clock).answers]


def shows(url: str, setting: str) -> object:
    connection = connect(url)
    try:
        return connection.execute(text(f"SHOW {setting}")).scalar()
    finally:
        connection.close()
        connection.engine.dispose()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("idle_in_transaction_session_timeout", "5s"),
        ("lock_timeout", "5s"),
        ("tcp_keepalives_idle", "5"),
        ("tcp_keepalives_interval", "2"),
        ("tcp_keepalives_count", "3"),
        ("tcp_user_timeout", "5000"),
        ("transaction_isolation", "read committed"),
        ("synchronous_commit", "on"),
        ("statement_timeout", "6s"),
        ("application_name", "resonate_amqp ledger"),
    ],
)
def test_a_session_is_set_up_as_the_server_itself_says(
    postgres_url: str, setting: str, value: str
) -> None:
    assert shows(postgres_url, setting) == value


def test_what_the_url_says_prevails(postgres_url: str) -> None:
    url = f"{postgres_url}?application_name=mine&options=-c%20lock_timeout=2s"
    assert shows(url, "application_name") == "mine"
    assert shows(url, "lock_timeout") == "2s"
    assert shows(url, "idle_in_transaction_session_timeout") == "5s"


def test_our_own_end_of_the_connection_notices_a_lost_host_too(postgres_url: str) -> None:
    with connect(postgres_url) as connection:
        found = connection.connection.driver_connection
        assert isinstance(found, psycopg.Connection)
        parameters = found.info.get_parameters()
    connection.engine.dispose()
    assert driver.CLIENT.items() <= parameters.items()


def test_a_holder_that_falls_silent_within_a_transaction_loses_the_row(postgres_url: str) -> None:
    """A frozen ledger: its session is ended by the server, and its late write is refused."""
    quick = "?options=-c%20idle_in_transaction_session_timeout=100ms"
    frozen, rival = SqlLedger(postgres_url + quick), SqlLedger(postgres_url)
    frozen.promote(NOW)

    def write_late() -> None:
        with frozen._transaction(NOW) as late:
            rival.promote(NOW)
            assert ask(rival, external("a"))[0].status == 200
            late.execute(text("UPDATE promises SET state = 'late'"))

    with pytest.raises(LedgerUnavailable, match=r"idle-in-transaction|closed"):
        write_late()
    with pytest.raises((LedgerUnavailable, Superseded)):
        ask(frozen, settle("a"))
    frozen.trial()
    with pytest.raises(Superseded):
        ask(frozen, settle("a"))
    assert ask(rival, settle("a"))[0].status == 200
    for one in (frozen, rival):
        one.close()


def test_a_holder_that_falls_silent_within_a_pipeline_is_evicted_by_a_trial(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server sees it as busy: no timeout of its own ends it before version 17."""
    monkeypatch.setattr(driver, "EVICT", driver.EVICT.replace("5 s", "300 ms"))
    quick = "options=-c%20idle_in_transaction_session_timeout=100ms%20-c%20lock_timeout=1s"
    rival = SqlLedger(f"{postgres_url}?{quick}")
    name = f"application_name={driver.NAME}".replace(" ", "%20")
    silent = psycopg.connect(f"{postgres_url}?{name}")
    silent.pgconn.enter_pipeline_mode()
    silent.pgconn.send_query_params(b"BEGIN", None)
    silent.pgconn.send_query_params(b"UPDATE ledger_queues SET now = now", None)
    silent.pgconn.send_flush_request()
    silent.pgconn.flush()
    with pytest.raises(LedgerUnavailable, match="lock timeout"):
        rival.promote(NOW)
    rival.trial()
    rival.promote(NOW)
    assert ask(rival, external("a"))[0].status == 200
    rival.close()
    silent.close()


def test_a_server_that_does_not_answer_is_given_up(
    ledger: SqlLedger, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(ledger, external("a"))
    monkeypatch.setattr(driver, "ANSWER_WITHIN_S", 0.3)
    proxy.swallow()
    asked_at = time.monotonic()
    with pytest.raises(LedgerUnavailable, match=r"has not answered for 0\.3 s"):
        ask(ledger, settle("a"))
    assert time.monotonic() - asked_at < 3
    proxy.restore()
    ledger.trial()
    assert ask(ledger, settle("a"))[0].promise == found(ledger, "a")


def test_a_connection_that_was_dropped_is_opened_again_by_a_trial(
    ledger: SqlLedger, proxy: Proxy
) -> None:
    ask(ledger, call("a"))
    proxy.drop()
    with pytest.raises(LedgerUnavailable, match="cannot be used"):
        ask(ledger, acquire("a"))
    ledger.trial()
    assert ask(ledger, acquire("a"))[0].status == 200


def test_a_database_that_cannot_be_reached_is_tried_until_it_can(
    ledger: SqlLedger, proxy: Proxy
) -> None:
    proxy.cut()
    for _ in range(2):
        with pytest.raises(LedgerUnavailable):
            ask(ledger, external("a"))
        with pytest.raises(LedgerUnavailable):
            ledger.trial()
    proxy.restore()
    ledger.trial()
    assert ask(ledger, external("a"))[0].status == 200


def test_a_server_that_crashed_and_came_back_has_all_that_was_answered() -> None:
    with PrivatePostgres() as server:
        url = server.new_database()
        schema.prepare(url)
        ledger = SqlLedger(url)
        ledger.promote(NOW)
        before = ask(ledger, call("a"), acquire("a"), external("x"), settle("x"))
        server.kill()
        with pytest.raises(LedgerUnavailable):
            ask(ledger, settle("a"))
        with pytest.raises(LedgerUnavailable):
            ledger.trial()
        server.start()
        ledger.trial()
        assert found(ledger, "x") == before[-1].promise
        server.restart()
        with pytest.raises(LedgerUnavailable):
            ask(ledger, settle("a"))
        ledger.trial()
        assert ask(ledger, settle("a"))[0].status == 200
        ledger.close()


@pytest.mark.parametrize("cut", Cut)
def test_a_commit_of_unknown_outcome_is_applied_once_and_answered_as_if_nothing_had_been(
    ledger: SqlLedger, proxy: Proxy, cut: Cut
) -> None:
    ask(ledger, call("r"), external("x"), listener("x"))
    batch: list[Request] = [acquire("r"), call("b"), replace(settle("x"), value=Value({}, "MQ=="))]
    proxy.cut_at_commits(cut)
    with pytest.raises(LedgerUnavailable):
        apply(ledger, *batch, clock=NOW + 1)
    recorded = cut is Cut.AFTER
    ledger.trial()
    ledger.promote(NOW + 2)
    state = found(ledger, "x").state
    assert state is (PromiseState.RESOLVED if recorded else PromiseState.PENDING)
    again = apply(ledger, *batch, clock=NOW + 3)
    assert [group[0].status for group in again.answers] == [200, 200, 200]
    assert again.answers[2][0].applied
    [task] = [task for promise, task in ledger.tree("r", 9) if promise.id == "r"]
    assert task is not None
    assert (task.state, task.version) == (TaskState.ACQUIRED, 1)
    assert found(ledger, "x").settled_at == (NOW + 1 if recorded else NOW + 3)
    assert found(ledger, "b").created_at == (NOW + 1 if recorded else NOW + 3)
    backlog = ledger.promote(NOW + 4)
    assert [execute.promise.id for execute in backlog.executes] == ["b"]
    assert [one.promise.id for one in backlog.unblocks] == ["x"]


@pytest.mark.parametrize("cut", Cut)
def test_a_promotion_of_unknown_outcome_is_repeated(proxy: Proxy, cut: Cut) -> None:
    ledger = SqlLedger(proxy.url)
    proxy.cut_at_commits(cut)
    with pytest.raises(LedgerUnavailable):
        ledger.promote(NOW)
    with pytest.raises((LedgerUnavailable, Superseded)):
        ask(ledger, external("a"))
    ledger.trial()
    ledger.promote(NOW)
    assert ask(ledger, external("a"))[0].status == 200
    ledger.close()


def test_a_table_that_is_gone_is_the_databases_fault_and_no_requests(
    postgres_url: str, ledger: SqlLedger
) -> None:
    with psycopg.connect(postgres_url) as owner:
        owner.execute("ALTER TABLE outbox RENAME TO elsewhere")
    with pytest.raises(LedgerUnavailable, match="outbox"):
        ask(ledger, call("a"))
    with psycopg.connect(postgres_url) as owner:
        owner.execute("ALTER TABLE elsewhere RENAME TO outbox")
    ledger.trial()
    assert ask(ledger, call("a"))[0].status == 200


def test_an_error_shows_nothing_of_what_was_to_be_stored(ledger: SqlLedger) -> None:
    secret = replace(external("b"), param=Value({"k": "secret"}, "secret"))
    with pytest.raises(Exception, match="out of range") as refused:
        ask(ledger, secret, external("a", 2**63))
    assert "secret" not in str(refused.value)


def found(ledger: SqlLedger, promise_id: str) -> Promise:
    promise = ask(ledger, PromiseGet(id=promise_id))[0].promise
    assert promise is not None
    return promise
