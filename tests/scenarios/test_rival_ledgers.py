"""Two ledgers on one database: whatever becomes of the active one, the other takes over.

Each time a load of calls is under way. Afterwards every promise has ended right, nothing was lost,
settled twice or has gone back in time, and nothing is left over.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from resonate_amqp.ledgers import schema
from tests.ledgers.proxy import Proxy
from tests.scenarios.system import Process, System, wait_until

pytestmark = pytest.mark.processes

CALLS = 40
HEARTBEAT_S = 2
TAKEOVER_S = 40.0

SETTLED = "SELECT id, state, value_data, settled_at FROM promises WHERE state != 'pending'"
BACK_IN_TIME = """
SELECT child.id FROM promises child JOIN promises parent ON parent.id = child.parent
WHERE child.created_at < parent.created_at OR child.settled_at > parent.settled_at
   OR child.settled_at < child.created_at
"""


class Rivals:
    """A system with two ledgers, and calls under way that wait at the gate of `work`."""

    def __init__(self, system: System, active_url: str = "") -> None:
        self.system = system
        settings: dict[str, float | str] = {"heartbeat": HEARTBEAT_S}
        own: dict[str, float | str] = {"ledger": active_url} if active_url else {}
        system.journal.close_gate("work")
        self.active = system.ledger(**settings, **own)
        system.wait_for_ledger()
        wait_until("the first ledger is active", lambda: said(self.active, "promoted"))
        self.standby = system.ledger(**settings)
        wait_until("the second ledger stands by", lambda: said(self.standby, "standing by"))
        room = 3 * CALLS
        system.worker("a", prefetch=room)
        system.worker("c", prefetch=room, threads=room)
        self._seen: dict[str, tuple[Any, ...]] = {}
        self._gateways: list[Process] = []

    def call(self, name: str) -> Process:
        """Begin a load of calls."""
        given = [f"{name}-{number}={number}" for number in range(CALLS)]
        gateway = self.system.gateway(*given, function="twice")
        self._gateways.append(gateway)
        return gateway

    def wait_for_takeover(self, times: int = 1) -> None:
        what = "the other ledger has taken over"
        wait_until(what, lambda: said(self.standby, "promoted") >= times, TAKEOVER_S)

    def witness(self) -> None:
        """Look at everything that is settled: it must be as it was when it was seen first."""
        for promise_id, *rest in self.system.query(SETTLED):
            assert self._seen.setdefault(promise_id, tuple(rest)) == tuple(rest)

    def end(self) -> None:
        """Let every call end, and see that each ended right and once."""
        self.witness()
        self.system.journal.open_gate("work")
        for gateway in self._gateways:
            done = self._done(gateway)
            wait_until("every call has its result", done, TAKEOVER_S)
            numbers = {name: int(name.rpartition("-")[2]) for name in gateway.results()}
            assert gateway.results() == {name: 2 * number for name, number in numbers.items()}
            assert gateway.wait() == 0
        self.witness()
        count = CALLS * len(self._gateways)
        assert len(self._seen) == 2 * count
        for function in ("twice", "work"):
            ids = [run.promise_id for run in self.system.journal.runs(function)]
            assert len(ids) == len(set(ids)) == count
        assert self.system.query(BACK_IN_TIME) == []
        self.system.end()

    def _done(self, gateway: Process) -> Callable[[], bool]:
        return lambda: len(gateway.results()) == CALLS


def said(process: Process, text: str) -> int:
    """How often a process's log says something."""
    return process.log.read_text(encoding="utf-8", errors="replace").count(text)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def system(vhost_url: str, tmp_path: Path, database: str) -> Iterator[System]:
    made = System(vhost_url, tmp_path, database)
    yield made
    made.kill_all()
    sys.stdout.write(made.logs())


@pytest.fixture
def proxy(database: str) -> Iterator[Proxy]:
    made = Proxy(database)
    yield made
    made.close()


@contextlib.contextmanager
def held(database: str) -> Iterator[Callable[[], bool]]:
    """Hold the database's write lock; what it answers tells whether somebody waits for it."""
    if database.startswith("sqlite"):
        connection = sqlite3.connect(database.removeprefix("sqlite:///"), isolation_level=None)
        with contextlib.closing(connection):
            connection.execute("BEGIN IMMEDIATE")
            yield lambda: True
        return
    with psycopg.connect(database) as holder, psycopg.connect(database, autocommit=True) as other:
        holder.execute("SELECT now FROM ledger_queues FOR UPDATE")
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        yield lambda: other.execute(waiting).fetchone() is not None


def test_the_active_ledger_is_killed(system: System) -> None:
    rivals = Rivals(system)
    gateway = rivals.call("first")
    wait_until("some calls are recorded", lambda: gateway.recorded() >= CALLS // 4)
    rivals.active.kill()
    rivals.wait_for_takeover()
    rivals.call("second")
    rivals.end()


def test_both_ledgers_are_killed_in_turn_while_everything_ends(system: System) -> None:
    rivals = Rivals(system)
    gateway = rivals.call("first")
    wait_until("every call is recorded", lambda: gateway.recorded() == CALLS)
    system.journal.open_gate("work")
    wait_until("some calls have ended", lambda: system.fulfilled("twice") >= 2)
    rivals.active.kill()
    rivals.wait_for_takeover()
    third = system.ledger(heartbeat=HEARTBEAT_S)
    rivals.witness()
    rivals.standby.kill()
    wait_until("the third takes over", lambda: said(third, "promoted"), TAKEOVER_S)
    system.journal.close_gate("work")
    rivals.end()


def test_the_active_ledger_is_frozen_within_a_transaction_and_thawed(
    system: System, database: str
) -> None:
    """It must stand by then, and what it was about to write must not be written."""
    rivals = Rivals(system)
    before = rivals.call("first")
    wait_until("every call is recorded", lambda: before.recorded() == CALLS)
    system.journal.close_gate("gateway")
    after = rivals.call("second")
    wait_until("the gateway is ready", after.said)
    with held(database) as somebody_waits:
        system.journal.open_gate("gateway")
        wait_until("the active ledger waits for the lock", somebody_waits)
        os.kill(rivals.active.pid, signal.SIGSTOP)
    rivals.wait_for_takeover()
    wait_until("the second load is recorded", lambda: after.recorded() == CALLS, TAKEOVER_S)
    rivals.witness()
    promoted = said(rivals.active, "promoted")
    os.kill(rivals.active.pid, signal.SIGCONT)
    wait_until("it stands by", lambda: said(rivals.active, "standing by"))
    assert said(rivals.active, "promoted") == promoted
    assert said(rivals.standby, "was taken over") == 0
    rivals.end()


@pytest.mark.parametrize(
    "database", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
@pytest.mark.parametrize("how", ["cut", "swallow"])
def test_the_active_ledger_is_cut_off_from_its_database(
    system: System, proxy: Proxy, how: str
) -> None:
    """It leaves its queue, and comes back when it can commit again."""
    rivals = Rivals(system, proxy.url)
    before = rivals.call("first")
    wait_until("some calls are recorded", lambda: before.recorded() >= CALLS // 4)
    getattr(proxy, how)()
    rivals.wait_for_takeover()
    after = rivals.call("second")
    wait_until("the second load is recorded", lambda: after.recorded() == CALLS, TAKEOVER_S)
    rivals.witness()
    proxy.restore()
    wait_until("it stands by", lambda: said(rivals.active, "standing by"), TAKEOVER_S)
    rivals.standby.kill()
    promoted = said(rivals.active, "promoted")
    wait_until("it takes over", lambda: said(rivals.active, "promoted") > promoted, TAKEOVER_S)
    rivals.end()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_active_ledger_can_write_no_more(system: System) -> None:
    """As on a full disk: the other one, which can, takes over."""
    rivals = Rivals(system)
    before = rivals.call("first")
    wait_until("some calls are recorded", lambda: before.recorded() >= CALLS // 4)
    limits = resource.prlimit(rivals.active.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(rivals.active.pid, resource.RLIMIT_FSIZE, (0, limits[1]))
    after = rivals.call("second")
    rivals.wait_for_takeover()
    wait_until("the second load is recorded", lambda: after.recorded() == CALLS, TAKEOVER_S)
    rivals.witness()
    resource.prlimit(rivals.active.pid, resource.RLIMIT_FSIZE, limits)
    wait_until("it stands by", lambda: said(rivals.active, "standing by"), TAKEOVER_S)
    rivals.standby.kill()
    promoted = said(rivals.active, "promoted")
    wait_until("it takes over", lambda: said(rivals.active, "promoted") > promoted, TAKEOVER_S)
    rivals.end()


def test_the_database_is_locked_for_longer_than_any_ledger_waits(
    system: System, database: str
) -> None:
    """Each gives the queue up after five seconds; when the lock goes, one of them goes on."""
    rivals = Rivals(system)
    before = rivals.call("first")
    wait_until("some calls are recorded", lambda: before.recorded() >= CALLS // 4)
    with held(database):
        rivals.call("second")
        for ledger in (rivals.active, rivals.standby):
            wait_until("it gives up", partial(said, ledger, "cannot be used"), TAKEOVER_S)
    rivals.end()


def test_a_ledger_that_does_not_know_the_schema_is_refused_at_its_start(
    system: System, database: str
) -> None:
    """The one that runs is not disturbed; the one refused names what is to be done."""
    rivals = Rivals(system)
    gateway = rivals.call("first")
    wait_until("some calls are recorded", lambda: gateway.recorded() >= CALLS // 4)
    change(database, "r9999")
    stranger = system.ledger()
    assert stranger.wait() != 0
    assert said(stranger, "resonate-amqp ledger migrate")
    assert said(stranger, "r9999")
    change(database, schema.HEAD)
    rivals.active.kill()
    rivals.wait_for_takeover()
    rivals.call("second")
    rivals.end()


def change(database: str, version: str) -> None:
    """Give the schema another version, past the package."""
    statement = f"UPDATE {schema.VERSION_TABLE} SET version_num = '{version}'"
    if database.startswith("sqlite"):
        path = database.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection, connection:
            connection.execute(statement)
        return
    with psycopg.connect(database) as server:
        server.execute(statement.encode())
