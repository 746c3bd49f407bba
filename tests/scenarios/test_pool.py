"""`worker run --processes`: several workers under one supervisor, and what ends which of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.scenarios.system import Process, System, wait_until

pytestmark = pytest.mark.processes

COUNT = 3


def calls(system: System, first: int, count: int) -> Process:
    """A gateway that calls `twice`, once for each of so many numbers."""
    given = [f"call-{number}={number}" for number in range(first, first + count)]
    return system.gateway(*given, function="twice")


def pids(system: System, function: str = "work") -> set[int]:
    return {run.pid for run in system.journal.runs(function)}


def alive(pid: int) -> bool:
    """Whether the process runs; one that waits for its parent to notice its end does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def takes_no_more(pool: Process) -> None:
    """Wait until every worker of the pool has been told to stop while a body runs in it."""
    told = "1 bodies are left"
    wait_until(
        "all take no more", lambda: pool.log.read_text(encoding="utf-8").count(told) == COUNT
    )


def started(system: System, **settings: float) -> Process:
    """A pool that holds one task in each of its processes, at the gate of `work`."""
    system.journal.close_gate("work")
    system.ledger()
    system.worker("a")
    pool = system.pool("c", COUNT, prefetch=1, **settings)
    system.wait_for_consumers("service-c", COUNT)
    return pool


def test_every_process_takes_work_and_a_killed_one_is_replaced(system: System) -> None:
    pool = started(system)
    first = calls(system, 0, COUNT)
    system.wait_for_run("work", COUNT)
    before = pids(system)
    assert len(before) == COUNT
    assert pool.pid not in before
    victim = min(before)
    (cut_off,) = [run.promise_id for run in system.journal.runs("work") if run.pid == victim]
    os.kill(victim, signal.SIGKILL)
    system.wait_for_run("work", COUNT + 1)
    again = system.journal.runs("work")[-1]
    assert again.promise_id == cut_off
    assert again.pid not in before
    assert "ended with SIGKILL" in pool.log.read_text(encoding="utf-8")
    system.journal.open_gate("work")
    wait_until("every call has its result", lambda: len(first.results()) == COUNT)
    assert first.results() == {f"call-{n}": 2 * n for n in range(COUNT)}
    assert first.wait() == 0
    system.end()


def test_a_supervisor_that_is_told_to_stop_waits_for_the_leaves_of_all(system: System) -> None:
    pool = started(system)
    gateway = calls(system, 0, COUNT)
    system.wait_for_run("work", COUNT)
    pool.terminate()
    takes_no_more(pool)
    assert pool.running
    assert all(map(alive, pids(system)))
    system.journal.open_gate("work")
    assert pool.wait() == 0
    assert not any(map(alive, pids(system)))
    wait_until("every call has its result", lambda: len(gateway.results()) == COUNT)
    assert len(system.journal.runs("work")) == COUNT
    system.end()


def test_a_signal_to_the_whole_group_of_processes_is_one_signal(system: System) -> None:
    """A service manager tells every process to stop, the supervisor and each worker."""
    pool = started(system)
    gateway = calls(system, 0, COUNT)
    system.wait_for_run("work", COUNT)
    for pid in (pool.pid, *pids(system)):
        os.kill(pid, signal.SIGTERM)
    takes_no_more(pool)
    system.journal.open_gate("work")
    assert pool.wait() == 0
    wait_until("every call has its result", lambda: len(gateway.results()) == COUNT)
    assert len(system.journal.runs("work")) == COUNT
    system.end()


def test_a_second_signal_ends_all_at_once(system: System) -> None:
    pool = started(system)
    calls(system, 0, COUNT)
    system.wait_for_run("work", COUNT)
    pool.terminate()
    wait_until("it stops", lambda: "are told to stop" in pool.log.read_text(encoding="utf-8"))
    pool.terminate()
    assert pool.wait() == 128 + signal.SIGTERM
    assert not any(map(alive, pids(system)))


def test_the_death_of_the_supervisor_ends_all_in_order(system: System) -> None:
    pool = started(system)
    gateway = calls(system, 0, COUNT)
    system.wait_for_run("work", COUNT)
    pool.kill()
    takes_no_more(pool)
    system.journal.open_gate("work")
    wait_until("every worker has ended", lambda: not any(map(alive, pids(system))))
    wait_until("every call has its result", lambda: len(gateway.results()) == COUNT)
    assert len(system.journal.runs("work")) == COUNT
    system.end()
