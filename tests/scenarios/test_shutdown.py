"""A worker that is told to stop: what it takes, finishes, gives back, and who goes on with it."""

from __future__ import annotations

import os
import signal

import pytest

from tests.scenarios.system import Process, System, wait_until

pytestmark = pytest.mark.processes


def told_to_stop(worker: Process, number: int = signal.SIGTERM) -> None:
    """Signal a worker, and wait until it takes no more."""
    os.kill(worker.pid, number)
    said = "no more tasks are taken"
    wait_until("it takes no more", lambda: said in worker.log.read_text(encoding="utf-8"))


def calls(system: System, *ids: str) -> Process:
    return system.gateway(*(f"{one}={number}" for number, one in enumerate(ids)), function="twice")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_comes_after_the_signal_goes_to_others_while_a_leaf_is_finished(
    system: System, number: int
) -> None:
    system.journal.close_gate("work")
    system.ledger()
    stopping = system.workers("ac")[1]
    first = calls(system, "first")
    system.wait_for_run("work")
    told_to_stop(stopping, number)
    second = calls(system, "second")
    wait_until("the second call waits", lambda: system.waiting("service-c") == 1)
    other = system.worker("c")
    system.wait_for_run("work", 2)
    assert stopping.running
    system.journal.open_gate("work")
    assert stopping.wait() == 0
    assert (system.result(first), system.result(second)) == (0, 0)
    assert [run.pid for run in system.journal.runs("work")] == [stopping.pid, other.pid]
    system.end()


def test_a_second_signal_ends_a_worker_at_once_and_another_goes_on(system: System) -> None:
    system.journal.close_gate("work")
    system.ledger()
    stopping = system.workers("ac")[1]
    gateway = calls(system, "call")
    system.wait_for_run("work")
    other = system.worker("c")
    system.wait_for_consumers("service-c", 2)
    told_to_stop(stopping)
    stopping.terminate()
    assert stopping.wait(5) == 128 + signal.SIGTERM
    system.wait_for_run("work", 2)
    system.journal.open_gate("work")
    assert system.result(gateway) == 0
    assert [run.pid for run in system.journal.runs("work")] == [stopping.pid, other.pid]
    system.end()


def test_a_leaf_longer_than_grace_is_taken_over_by_a_worker_that_runs(system: System) -> None:
    system.journal.close_gate("work")
    system.ledger()
    system.worker("a")
    stopping = system.worker("c", grace=0.5)
    gateway = calls(system, "call")
    system.wait_for_run("work")
    other = system.worker("c")
    system.wait_for_consumers("service-c", 2)
    told_to_stop(stopping)
    assert stopping.wait() == 0
    system.wait_for_run("work", 2)
    assert system.journal.runs("work")[1].pid == other.pid
    system.journal.open_gate("work")
    assert system.result(gateway) == 0
    system.end()
