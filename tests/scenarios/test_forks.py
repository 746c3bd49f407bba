"""Forks: a child is a process of its own, and neither hears nor harms what its parent joined."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from resonate_amqp import Embedded, Resonate, UsageError
from tests.scenarios.system import Process, System, wait_until

pytestmark = pytest.mark.processes

PROGRAM = "tests.scenarios.forking"
WORKER = ("resonate_amqp", "worker", "run", f"{PROGRAM}:resonate")
TAKEN_OVER_S = 8.0
"""Half of what the broker would need to notice a dead connection by its heartbeat."""


def told(program: Process) -> dict[str, Any]:
    """Everything it said, once it has ended."""
    assert program.wait() == 0
    found: dict[str, Any] = {}
    for line in program.said():
        found |= line
    return found


def test_a_child_has_a_pid_and_connections_of_its_own_and_leaves_the_parents_alone(
    system: System,
) -> None:
    system.journal.close_gate("works")
    system.ledger()
    system.wait_for_ledger()
    program = system.program(PROGRAM, "gateway")
    found = told(program)
    assert found["code"] == 0
    assert found["child_pid"] != found["pid"]
    assert "before this one was forked; ask again here: resonate.get('before')" in found["handle"]
    assert "before this one was forked" in found["done"]
    assert found["shown"] == f"<Handle 'before' of process {program.pid}>"
    assert (found["same"], found["child"]) == ("before", 1)
    assert (found["before"], found["after"]) == (1, 1)
    connected = [
        int(line.split()[0])
        for line in program.log.read_text(encoding="utf-8").splitlines()
        if "connected to" in line
    ]
    assert len(connected) == len(set(connected)) == 2
    assert "no connection" not in program.log.read_text(encoding="utf-8")
    assert len(system.journal.runs("works")) == 3
    system.end()


def test_a_child_that_outlives_a_killed_worker_does_not_keep_its_tasks(system: System) -> None:
    system.journal.close_gate("forks")
    system.journal.close_gate("child")
    system.ledger()
    first = system.program(*WORKER)
    system.wait_for_consumers("service-d", 1)
    gateway = system.gateway("call", function="forks", to="service-d")
    system.wait_for_run("forks")
    system.program(*WORKER)
    system.wait_for_consumers("service-d", 2)
    killed_at = first.kill()
    system.wait_for_run("forks", 2)
    took_s = system.journal.runs("forks")[1].at - killed_at
    system.journal.open_gate("child")
    assert system.result(gateway) == "done"
    assert took_s < TAKEN_OVER_S
    system.journal.open_gate("forks")
    system.end()


@pytest.mark.parametrize("pid", ["", "given"], ids=["drawn", "given"])
def test_workers_forked_from_a_master_take_work_under_pids_of_their_own(
    system: System, monkeypatch: pytest.MonkeyPatch, pid: str
) -> None:
    monkeypatch.setenv("FORKING_PID", pid)
    system.journal.close_gate("works")
    system.ledger()
    master = system.program(PROGRAM, "prefork", "3", prefetch=1)
    system.wait_for_consumers("service-d", 3)
    gateway = system.gateway("one", "two", "three", function="works", to="service-d")
    system.wait_for_run("works", 3)
    assert len({run.pid for run in system.journal.runs("works")}) == 3
    holders = [row[0] for row in system.query("SELECT pid FROM tasks WHERE state = 'acquired'")]
    assert len(set(holders)) == 3
    system.journal.open_gate("works")
    wait_until("every call has its result", lambda: len(gateway.results()) == 3)
    master.terminate()
    assert told(master)["codes"] == [0, 0, 0]
    system.end()


def test_a_child_of_a_process_in_memory_has_a_system_of_its_own(system: System) -> None:
    system.journal.close_gate("works")
    found = told(system.program(PROGRAM, "embedded", ""))
    assert found["code"] == 0
    assert "was forked" in found["handle"]
    assert found["call"] == "no refusal: 1"
    assert (found["before"], found["after"]) == (1, 1)


def test_a_child_of_a_process_with_its_own_file_is_refused_the_file(
    system: System, tmp_path: Path
) -> None:
    system.journal.close_gate("works")
    ledger = f"sqlite:///{tmp_path / 'own.db'}"
    found = told(system.program(PROGRAM, "embedded", ledger))
    assert found["code"] == 0
    assert "was forked" in found["handle"]
    assert "is in use" in found["call"]
    assert "url=" in found["call"]
    assert (found["before"], found["after"]) == (1, 1)


def test_a_lock_that_another_thread_held_at_the_fork_is_waited_for_by_nobody(
    system: System, tmp_path: Path
) -> None:
    found = told(system.program(PROGRAM, "locked", f"sqlite:///{tmp_path / 'own.db'}"))
    assert found["code"] == 0
    assert "is in use" in found["call"]
    assert found["after"] == "first"


def test_a_system_that_is_shared_is_refused_in_a_child() -> None:
    with Embedded() as system:
        resonate = Resonate(system=system, group="one")
        resonate.promises.create("x")
        pid = os.fork()
        if pid == 0:
            try:
                resonate.promises.create("y")
            except UsageError as error:
                os._exit(0 if "which forked this one" in str(error) else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert resonate.promises.get("x").id == "x"
        resonate.stop()
