"""`kill -9` of a worker in the middle of an `async def` workflow with branches, over RabbitMQ."""

from __future__ import annotations

import pytest

from tests.scenarios.system import System, wait_until

pytestmark = pytest.mark.processes

WIDTH = 4
CALLS = 2 * WIDTH
RESULT = [4 * number for number in range(WIDTH)]


@pytest.mark.parametrize("parked", [False, True], ids=["in memory", "parked"])
def test_the_branches_of_a_killed_worker_go_on_elsewhere_where_they_were(
    system: System, parked: bool
) -> None:
    park_after = 0.2 if parked else 60
    system.journal.close_gate("work")
    system.ledger()
    first = system.worker("branching:g", park_after=park_after)
    system.worker("c")
    gateway = system.gateway(f"tree={WIDTH}", function="tree", to="service-g")
    system.wait_for_run("work", CALLS)
    if parked:
        wait_until("the tree is parked", lambda: system.task_state("tree") == "suspended")
    first.kill()
    system.worker("branching:g", park_after=park_after)
    if not parked:
        system.wait_for_run("tree", 2)
    system.journal.open_gate("work")
    assert system.result(gateway) == RESULT
    counts = system.journal.counts()
    assert counts.pop("tree") > 1
    assert counts == {"step": WIDTH, "work": CALLS}
    system.end()


def test_a_workflow_that_is_killed_again_and_again_repeats_no_finished_step(
    system: System,
) -> None:
    system.journal.close_gate("work")
    system.ledger()
    system.worker("c")
    gateway = system.gateway(f"tree={WIDTH}", function="tree", to="service-g")
    for life in range(1, 5):
        worker = system.worker("branching:g")
        system.wait_for_run("tree", life)
        if life == 2:
            system.wait_for_run("work", CALLS)
        worker.kill()
    system.journal.open_gate("work")
    system.worker("branching:g")
    assert system.result(gateway) == RESULT
    counts = system.journal.counts()
    assert counts["work"] == CALLS
    # A step may begin twice where a kill came between its end and its record.
    assert WIDTH <= counts["step"] <= 2 * WIDTH
    system.end()
