"""What an operator asks a ledger for: tasks by state, longest in it first."""

from __future__ import annotations

import pytest

from resonate_amqp.core.batch import Batch
from resonate_amqp.core.model import TaskState
from resonate_amqp.core.requests import Group, Request, TaskHalt, TaskSearch
from resonate_amqp.ports import Ledger
from tests.core.world import NOW, acquire, call

LATE = NOW + 1_000
STATES = (TaskState.HALTED, TaskState.PENDING, TaskState.ACQUIRED)


def at(ledger: Ledger, clock: int, *requests: Request) -> None:
    groups = [Group(id=f"{clock}-{n}", steps=(one,)) for n, one in enumerate(requests)]
    answered = ledger.apply(Batch(groups=groups), clock).answers
    assert all(responses[0].ok for responses in answered)


@pytest.fixture
def kept(ledger: Ledger) -> Ledger:
    """Two tasks in each state; `…-2` is in it for a shorter time."""
    names = ("held", "waits", "halted")
    for number, clock in ((2, NOW + 10), (1, NOW + 20)):
        at(ledger, clock, *(call(f"{name}-{number}") for name in names))
    for number, clock in ((1, NOW + 30), (2, NOW + 40)):
        at(ledger, clock, acquire(f"held-{number}"), TaskHalt(id=f"halted-{number}"))
    return ledger


def found(ledger: Ledger, *states: TaskState, before: int = LATE, limit: int = 10) -> list[str]:
    query = TaskSearch(states=states, before=before, limit=limit)
    return [promise.id for promise, _ in ledger.search(query)]


def test_states_come_in_the_order_they_are_asked_for_and_the_longest_first(kept: Ledger) -> None:
    by_state = ["halted-2", "halted-1", "waits-2", "waits-1", "held-1", "held-2"]
    assert found(kept, *STATES) == by_state
    assert found(kept, *STATES[::-1]) == [*by_state[4:], *by_state[2:4], *by_state[:2]]


def test_what_waits_or_is_held_for_less_is_left_out_and_what_is_halted_never(
    kept: Ledger,
) -> None:
    assert found(kept, *STATES, before=NOW + 35) == [
        "halted-2",
        "halted-1",
        "waits-2",
        "waits-1",
        "held-1",
    ]
    assert found(kept, *STATES, before=NOW + 15) == ["halted-2", "halted-1", "waits-2"]


def test_no_more_are_found_than_asked_for(kept: Ledger) -> None:
    assert found(kept, *STATES, limit=3) == ["halted-2", "halted-1", "waits-2"]
    assert found(kept, *STATES, limit=0) == []


def test_a_task_is_found_with_its_promise_and_its_times(kept: Ledger) -> None:
    query = TaskSearch(states=(TaskState.ACQUIRED,), before=LATE, limit=1)
    [(promise, task)] = kept.search(query)
    assert (promise.id, promise.pending) == ("held-1", True)
    assert task is not None
    assert (task.state, task.acquired_at) == (TaskState.ACQUIRED, NOW + 30)
