"""Calls recorded in transactions of an application, and a relay that dies at the worst moment."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.scenarios.system import System, wait_until

pytestmark = pytest.mark.processes

ORDERS = ("order-0", "order-1", "order-2")


def recorded(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute("SELECT id FROM resonate_calls ORDER BY serial").fetchall()
    return [row[0] for row in found]


def test_a_relay_killed_between_answer_and_delete_costs_no_second_execution(
    system: System, tmp_path: Path
) -> None:
    database = tmp_path / "shop.db"
    url = f"sqlite:///{database}"
    assert system.program("tests.scenarios.shop", "record", url, *ORDERS).wait() == 0
    assert recorded(database) == list(ORDERS)
    system.ledger()
    system.workers("ac")
    assert system.program("tests.scenarios.shop", "relay", url).wait() == -signal.SIGKILL
    assert recorded(database) == list(ORDERS)
    wait_until("the ledger has every call", lambda: system.fulfilled("twice") == len(ORDERS))
    system.program("resonate_amqp", "relay", "--database", url)
    wait_until("the rows are gone", lambda: recorded(database) == [])
    system.end()
    assert system.journal.counts() == {"twice": len(ORDERS), "work": len(ORDERS)}
    assert {run.promise_id for run in system.journal.runs("twice")} == set(ORDERS)


def test_a_relay_that_is_started_before_everything_else_waits_for_it(
    system: System, tmp_path: Path
) -> None:
    database = tmp_path / "shop.db"
    url = f"sqlite:///{database}"
    assert system.program("tests.scenarios.shop", "record", url, "order-0").wait() == 0
    relay = system.program("resonate_amqp", "relay", "--database", url, request_timeout=0.5)
    wait_until("it says so", lambda: "recorded calls wait" in relay.log.read_text("utf-8"))
    system.ledger()
    system.workers("ac")
    wait_until("the rows are gone", lambda: recorded(database) == [])
    wait_until("it says so", lambda: "are sent again" in relay.log.read_text("utf-8"))
    system.end()
    assert system.journal.counts() == {"twice": 1, "work": 1}
