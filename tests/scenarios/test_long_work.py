"""Work that takes longer than a delivery may be held, waits in thousands, and a body that kills."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from resonate_amqp import Resonate
from resonate_amqp.dev.broker import PrivateBroker
from tests.scenarios.system import System, wait_until

pytestmark = pytest.mark.processes

SOON = {"hold_max": 0.5, "refresh": 0.5}
"""The settings of a worker whose leaves outlive a delivery within the test's time."""

WAITING = 1_000


def moved(system: System, promise_id: str) -> bool:
    """Whether a task is held under a lease without a delivery."""
    rows = system.query(f"SELECT state, ticket FROM tasks WHERE id = '{promise_id}'")
    return rows == [("acquired", "")]


def test_a_leaf_that_outlives_its_delivery_runs_once(system: System) -> None:
    system.journal.close_gate("long")
    system.ledger()
    worker = system.worker("long_work:h", **SOON)
    gateway = system.gateway("call=3", function="long", to="service-h")
    wait_until("the lease has moved", lambda: moved(system, "call"))
    # It outlives its first lease several times over.
    began = time.monotonic()
    wait_until("it is kept alive", lambda: time.monotonic() - began > 3.0)
    system.journal.open_gate("long")
    assert system.result(gateway) == 6
    assert system.journal.counts() == {"long": 1}
    assert worker.running
    system.end()


def test_a_leaf_whose_worker_is_killed_after_the_move_is_taken_over_by_another(
    system: System,
) -> None:
    system.journal.close_gate("long")
    system.ledger()
    first = system.worker("long_work:h", **SOON)
    gateway = system.gateway("call=3", function="long", to="service-h")
    wait_until("the lease has moved", lambda: moved(system, "call"))
    first.kill()
    system.worker("long_work:h", **SOON)
    system.wait_for_run("long", 2)
    system.journal.open_gate("long")
    assert system.result(gateway) == 6
    assert system.journal.counts() == {"long": 2}
    system.end()


def test_a_worker_full_of_leaves_that_outlived_their_deliveries_leaves_the_rest_to_others(
    system: System,
) -> None:
    system.journal.close_gate("long")
    system.ledger()
    system.worker("long_work:h", prefetch=2, **SOON)
    given = [f"call-{number}={number}" for number in range(2)]
    gateway = system.gateway(*given, function="long", to="service-h")
    wait_until("both have moved", lambda: moved(system, "call-0") and moved(system, "call-1"))
    system.wait_for_consumers("service-h", 0)
    other = system.gateway("next=5", function="neighbour", to="service-h")
    wait_until("it waits in its queue", lambda: system.waiting("service-h") == 1)
    system.journal.open_gate("long")
    assert system.result(other) == 10
    wait_until("all have their results", lambda: len(gateway.results()) == 2)
    assert gateway.wait() == 0
    assert Counter(run.promise_id for run in system.journal.runs("long")) == {
        "call-0": 1,
        "call-1": 1,
    }
    system.end()


def test_a_thousand_workflows_wait_on_one_worker_with_sixteen_slots(system: System) -> None:
    system.ledger()
    system.worker("long_work:w", prefetch=16)
    given = [f"call-{number}={number}" for number in range(WAITING)]
    gateway = system.gateway(*given, function="waits", to="service-w")
    parked = "SELECT count(*) FROM tasks WHERE state = 'suspended'"
    wait_until("all are parked but a few", lambda: system.query(parked)[0][0] >= WAITING - 16, 120)
    resonate = Resonate(system.url, group="outside")
    try:
        for number in range(WAITING):
            resonate.promises.resolve(f"call-{number}:1", number)
    finally:
        resonate.stop()
    wait_until("all have their results", lambda: len(gateway.results()) == WAITING, 120)
    assert gateway.results() == {f"call-{number}": 2 * number for number in range(WAITING)}
    assert gateway.wait() == 0
    runs = Counter(run.promise_id for run in system.journal.runs("waits"))
    assert (len(runs), max(runs.values()) <= 2) == (WAITING, True)
    system.end()


def test_recursion_on_one_group_ends_beside_leaves_that_do_not(system: System) -> None:
    system.journal.close_gate("beside")
    system.ledger()
    system.worker("long_work:r", prefetch=4, **SOON)
    given = [f"beside-{number}={number}" for number in range(3)]
    leaves = system.gateway(*given, function="beside", to="service-r")
    system.wait_for_run("beside", 3)
    gateway = system.gateway("deep=30", function="depth", to="service-r")
    assert system.result(gateway, 60) == 30
    system.journal.open_gate("beside")
    wait_until("the leaves have ended", lambda: len(leaves.results()) == 3)
    assert system.journal.counts() == {"beside": 3}
    assert leaves.wait() == 0
    system.end()


def test_a_body_that_kills_its_process_is_halted_and_its_neighbours_end(system: System) -> None:
    """Eleven deaths under a lease are one too many; one more if the first came before a lease."""
    system.ledger()
    workers = [system.worker("long_work:h") for _ in range(13)]
    system.wait_for_consumers("service-h", 13)
    given = [f"beside-{number}={number}" for number in range(5)]
    system.gateway("call", function="poison", to="service-h")
    neighbours = system.gateway(*given, function="neighbour", to="service-h")
    wait_until("it is halted", lambda: system.task_state("call") == "halted", 60)
    deaths = len(system.journal.runs("poison"))
    assert deaths in (11, 12)
    wait_until("the others live", lambda: sum(one.running for one in workers) == 13 - deaths)
    wait_until("its neighbours end", lambda: len(neighbours.results()) == 5)
    assert neighbours.results() == {f"beside-{number}": 2 * number for number in range(5)}
    [(reason,)] = system.query("SELECT reason FROM tasks WHERE id = 'call'")
    assert "lost 11 times without progress" in reason
    assert set(system.leftovers()) == {"listeners", "unfinished tasks", "pending promises"}
    assert system.waiting("service-h") == 0


def test_a_durable_sleep_outlasts_restarts_of_everything(
    node: PrivateBroker, tmp_path: Path
) -> None:
    system = System(node.new_vhost(), tmp_path)
    try:
        system.ledger()
        system.worker("long_work:w")
        system.gateway("call=15", function="sleeps", to="service-w")
        system.wait_for_run("note")
        until = "SELECT timeout_at FROM promises WHERE id = 'call:2'"
        wait_until("it sleeps", lambda: system.query(until))
        [(due_at,)] = system.query(until)
        system.kill_all()
        node.restart()
        system.ledger()
        system.worker("long_work:w")
        again = system.gateway("call=15", function="sleeps", to="service-w")
        assert system.result(again, 60) == 15
        [(settled_at,)] = system.query("SELECT settled_at FROM promises WHERE id = 'call:2'")
        assert settled_at == due_at
        assert Counter(run.promise_id for run in system.journal.runs("note")) == {
            "call:1": 1,
            "call:3": 1,
        }
        system.end()
    finally:
        system.kill_all()
        sys.stdout.write(system.logs())
