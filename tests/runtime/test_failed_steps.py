"""Steps on which the ledger fails (500): what was not recorded is not taken for recorded."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from resonate_amqp.core.model import TaskState
from resonate_amqp.runtime.context import Context
from tests.runtime.workshop import Hand, Workshop
from tests.server.ledgers import FailsOn

AGAIN_MS = 5_000


def steps(ctx: Context) -> Generator[Any, Any, Any]:
    one = yield ctx.lfc("quick", 1)
    return (yield ctx.lfc("slow", one))


def opened() -> tuple[Workshop, FailsOn, Hand]:
    ledger = FailsOn()
    workshop = Workshop(steps, ledger=ledger)
    return workshop, ledger, workshop.hire()


def test_a_leaf_whose_result_could_not_be_recorded_runs_again_later() -> None:
    """Its lease was acquired long before, so that the fulfil is a group of its own."""
    workshop, ledger, hand = opened()
    workshop.call("slow", 4)
    workshop.pass_time(100)
    ledger.failing = "task.fulfill"
    hand.bench.end("r")
    workshop.rest()
    assert workshop.promise().pending
    assert workshop.state() is TaskState.PENDING
    ledger.failing = ""
    workshop.pass_time(AGAIN_MS - 1)
    assert hand.bench.began == {"r": 1}
    workshop.pass_time(1_000)
    assert hand.bench.began == {"r": 2}
    hand.bench.end("r")
    workshop.rest()
    assert workshop.result() == 8
    workshop.check()


@pytest.mark.parametrize("failing", ["task.acquire", "task.fulfill"])
def test_a_quick_leaf_whose_only_group_failed_runs_again(failing: str) -> None:
    workshop, ledger, hand = opened()
    ledger.failing = failing
    workshop.call("quick", 4)
    workshop.rest()
    assert workshop.promise().pending
    ledger.failing = ""
    workshop.pass_time(2 * AGAIN_MS)
    assert workshop.result() == 8
    assert hand.unacked == 0
    workshop.check()


def test_a_workflow_goes_on_later_from_what_was_recorded_before_a_step_failed() -> None:
    workshop, ledger, hand = opened()
    workshop.call("steps")
    workshop.pass_time(100)
    ledger.failing = "task.fence"
    hand.bench.end("r:2")
    workshop.rest()
    assert workshop.state() is TaskState.PENDING
    ledger.failing = ""
    workshop.pass_time(AGAIN_MS + 1_000)
    hand.bench.end("r:2")
    workshop.rest()
    assert workshop.result() == 4
    assert hand.bench.began == {"r:1": 1, "r:2": 2}
    workshop.check()


def test_a_delivery_that_cannot_be_acquired_is_kept_for_a_second_then_ever_longer() -> None:
    """Returned at once it would come again at once, thousands of times a second."""
    workshop, ledger, hand = opened()
    ledger.failing = "task.acquire"
    clock = workshop.office.clock
    workshop.call("quick")
    began = clock.passed
    asked: list[int] = []
    for _ in range(100):
        workshop.rest()
        asked += [(clock.passed - began) // 1_000 for _ in workshop.sent]
        workshop.sent.clear()
        assert hand.unacked == 1
        workshop.pass_time(1_000)
    assert asked == [0, 1, 3, 7, 15, 31, 61, 91]
