"""Tasks that nobody here can run, and bodies that end their process: tried again, then halted."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from resonate_amqp.core.model import TaskState
from resonate_amqp.core.requests import TaskContinue, TaskRelease
from resonate_amqp.runtime.context import Context
from tests.runtime.workshop import Workshop

Body = Generator[Any, Any, Any]

LATEST_MS = 60_000


def newcomer(_ctx: Context) -> str:
    return "found"


def recording(ctx: Context) -> Body:
    """Records a step, and then another."""
    one = yield ctx.lfc("quick", 1)
    return (yield ctx.lfc("slow", one))


def releases(workshop: Workshop) -> list[TaskRelease]:
    """Every release that was sent."""
    return [step for one in workshop.sent for step in one.steps if isinstance(step, TaskRelease)]


def test_an_unknown_function_is_offered_ever_later() -> None:
    workshop = Workshop()
    workshop.hire()
    workshop.call("newcomer")
    workshop.pass_time(5 * LATEST_MS)
    waits = [step.delay for step in releases(workshop)]
    assert waits[:8] == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, LATEST_MS, LATEST_MS]


def test_an_unknown_function_is_halted_after_max_deliveries_with_the_reason() -> None:
    workshop = Workshop(max_deliveries=3)
    hand = workshop.hire()
    workshop.call("newcomer")
    workshop.pass_time(10 * LATEST_MS)
    assert [step.delay for step in releases(workshop)] == [1_000, 2_000, 4_000, 8_000]
    task = workshop.task()
    assert task.state is TaskState.HALTED
    assert task.reason == (
        "function 'newcomer' version 1 is not registered in group 'g' (registered: quick, slow)"
    )
    assert workshop.promise().pending
    assert not hand.worker.busy()
    workshop.check()


def test_a_function_that_is_found_in_time_runs() -> None:
    workshop = Workshop(max_deliveries=3)
    workshop.hire()
    workshop.call("newcomer")
    workshop.pass_time(3_500)
    workshop.registry.register(newcomer)
    workshop.pass_time(5_000)
    assert (workshop.result(), workshop.task().version) == ("found", 4)
    workshop.check()


def test_a_halted_function_runs_when_it_is_there_and_its_task_is_continued() -> None:
    workshop = Workshop(max_deliveries=0)
    workshop.hire()
    workshop.call("newcomer")
    workshop.rest()
    assert workshop.state() is TaskState.HALTED
    workshop.registry.register(newcomer)
    workshop.ask(TaskContinue(id="r"))
    workshop.rest()
    assert workshop.result() == "found"
    workshop.check()


def test_a_worker_with_very_many_functions_can_say_what_it_lacks() -> None:
    """The ledger refuses a text of more than 2 KiB, and a refused release would cost the task."""

    def work(_ctx: Context) -> None:
        return

    workshop = Workshop(max_deliveries=0)
    for number in range(500):
        workshop.registry.register(work, name=f"a_function_with_a_telling_name_{number}")
    workshop.hire()
    workshop.call("newcomer")
    workshop.rest()
    assert workshop.state() is TaskState.HALTED
    assert workshop.task().reason.startswith("function 'newcomer' version 1 is not registered")
    workshop.check()


def test_a_release_whose_answer_is_lost_is_counted_once() -> None:
    workshop = Workshop(max_deliveries=1)
    hand = workshop.hire()
    workshop.call("newcomer")
    with workshop.without_replies():
        hand.turn()
    workshop.pass_time(2_500)
    assert workshop.state() in (TaskState.PENDING, TaskState.ACQUIRED, TaskState.HALTED)
    assert workshop.task().deliveries <= 2
    workshop.pass_time(60_000)
    assert workshop.state() is TaskState.HALTED
    workshop.check()


@pytest.mark.parametrize("function", ["slow", "recording"])
def test_a_body_that_ends_its_process_each_time_is_halted_and_its_neighbours_are_not(
    function: str,
) -> None:
    """A step that is recorded before the process ends is no progress the second time."""
    workshop = Workshop(recording, max_deliveries=4)
    workshop.call("quick", promise_id="before")
    workshop.call(function)
    runs = []
    for life in range(8):
        hand = workshop.hire(f"p{life}")
        workshop.call("quick", promise_id=f"beside{life}")
        workshop.pass_time(300)
        runs.append(len(hand.bench.running))
        hand.die()
    assert runs == [1] * 5 + [0] * 3
    assert workshop.state() is TaskState.HALTED
    assert "lost 5 times without progress" in workshop.task().reason
    for promise_id in ("before", *(f"beside{life}" for life in range(8))):
        assert workshop.result(promise_id) == 2
    workshop.check()


def test_a_task_that_makes_progress_between_deaths_is_never_halted() -> None:
    """Each life records one more step than the one before."""

    def long_story(ctx: Context) -> Body:
        total = 0
        for number in range(6):
            total += yield ctx.lfc("slow", number)
        return total

    workshop = Workshop(long_story, max_deliveries=1)
    workshop.call("long_story")
    for life in range(6):
        hand = workshop.hire(f"p{life}")
        workshop.pass_time(300)
        hand.bench.end(f"r:{life + 1}")
        hand.turn()
        workshop.desk.work()
        if life < 5:
            hand.die()
    workshop.rest()
    assert workshop.result() == 30
    workshop.check()
