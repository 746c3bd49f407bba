"""Long waits, recursion and shutdown: a parked body holds nothing, and begins again once."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.scenarios.system import System, wait_until

pytestmark = pytest.mark.processes

ONCE = {"foo": 1, "bar": 1, "note": 1, "baz": 1}


def test_recursion_on_one_group_with_few_slots_ends(system: System) -> None:
    """A body is parked at most once for each child it awaits, and each time begins again."""
    system.ledger()
    system.worker("f", prefetch=4)
    gateway = system.gateway("root=10", function="fib", to="service-f")
    assert system.result(gateway, 60) == 55
    assert system.fulfilled("fib") == 177
    leaves = Counter(run.promise_id for run in system.journal.runs("leaf"))
    inner = Counter(run.promise_id for run in system.journal.runs("inner"))
    assert len(leaves) == 89
    assert set(leaves.values()) == {1}
    assert len(inner) == 88
    assert max(inner.values()) <= 3
    system.end()


def test_a_wait_longer_than_park_after_costs_one_more_run_of_the_waiting_body(
    system: System,
) -> None:
    system.journal.close_gate("baz")
    system.ledger()
    system.worker("a", park_after=0.5)
    system.workers("bc")
    gateway = system.gateway("chain")
    system.wait_for_run("baz")
    wait_until("foo is parked", lambda: system.task_state("chain") == "suspended")
    assert system.waiting("service-a") == 0
    assert system.task_state("chain:1") == "acquired"
    assert system.journal.counts() == ONCE
    system.journal.open_gate("baz")
    assert system.result(gateway) == 3
    assert system.journal.counts() == ONCE | {"foo": 2}
    system.end()


def test_a_parked_body_holds_no_delivery(system: System) -> None:
    """What a dead worker holds is back in the queue at once; there it would be seen."""
    system.journal.close_gate("baz")
    system.ledger()
    a = system.worker("a", park_after=0.5)
    system.workers("bc")
    gateway = system.gateway("chain")
    system.wait_for_run("baz")
    wait_until("foo is parked", lambda: "chain foo suspended" in a.log.read_text())
    # Acknowledgements go out in order: once a has done something else, this one has gone out.
    assert system.result(system.gateway("other=1", function="twice")) == 2
    a.kill()
    system.wait_for_consumers("service-a", 0)
    assert system.waiting("service-a") == 0
    system.journal.open_gate("baz")
    wait_until("foo is offered again", lambda: system.waiting("service-a") == 1)
    system.worker("a")
    assert system.result(gateway) == 3
    assert system.journal.counts() == ONCE | {"foo": 2, "twice": 1, "work": 1}
    system.end()


@pytest.mark.parametrize(
    ("letter", "function", "task"), [("a", "foo", "chain"), ("b", "bar", "chain:1")], ids=["a", "b"]
)
def test_a_worker_that_is_told_to_stop_parks_what_waits(
    system: System, letter: str, function: str, task: str
) -> None:
    system.journal.close_gate("baz")
    system.ledger()
    workers = {worker.pid: worker for worker in system.workers("abc" + letter)}
    system.wait_for_consumers(f"service-{letter}", 2)
    gateway = system.gateway("chain")
    system.wait_for_run("baz")
    (first,) = system.journal.runs(function)
    workers[first.pid].terminate()
    assert workers[first.pid].wait() == 0
    assert system.task_state(task) == "suspended"
    system.journal.open_gate("baz")
    assert system.result(gateway) == 3
    assert system.journal.counts() == ONCE | {function: 2}
    assert system.journal.runs(function)[1].pid != first.pid
    system.end()


def test_a_worker_that_is_told_to_stop_lets_its_leaves_end(system: System) -> None:
    system.journal.close_gate("baz")
    system.ledger()
    c = system.workers("abc")[-1]
    gateway = system.gateway("chain")
    system.wait_for_run("baz")
    c.terminate()
    wait_until("c takes no more", lambda: "1 bodies are left" in c.log.read_text())
    assert c.running
    system.journal.open_gate("baz")
    assert c.wait() == 0
    assert system.result(gateway) == 3
    assert system.journal.counts() == ONCE
    system.end()


def test_a_leaf_that_outlasts_grace_runs_again_elsewhere(system: System) -> None:
    system.journal.close_gate("baz")
    system.ledger()
    system.workers("ab")
    c = system.worker("c", grace=0.5)
    gateway = system.gateway("chain")
    system.wait_for_run("baz")
    c.terminate()
    assert c.wait() == 0
    wait_until("baz is back in its queue", lambda: system.waiting("service-c") == 1)
    system.worker("c")
    system.wait_for_run("baz", 2)
    system.journal.open_gate("baz")
    assert system.result(gateway) == 3
    assert system.journal.counts() == ONCE | {"baz": 2}
    system.end()
