"""What an operator asks a ledger for: tasks by state, and promises by a tag."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resonate_amqp.core.batch import Batch
from resonate_amqp.core.model import TaskState
from resonate_amqp.core.requests import (
    Group,
    PromiseCreate,
    PromiseSearch,
    Request,
    TaskHalt,
    TaskSearch,
)
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


def tagged(promise_id: str, tags: dict[str, str]) -> PromiseCreate:
    plain = call(promise_id)
    return replace(plain, tags={**plain.tags, **tags})


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


def test_promises_are_found_by_a_tag_the_oldest_first(ledger: Ledger) -> None:
    for number, clock in ((2, NOW + 10), (1, NOW + 20)):
        tags = {"message_id": "web-7", "attempt": str(number)}
        at(ledger, clock, tagged(f"order-{number}", tags))
    at(ledger, NOW + 30, tagged("other", {"message_id": "web-8"}))

    def found_by(name: str, value: str, limit: int = 10) -> list[str]:
        query = PromiseSearch(name=name, value=value, limit=limit)
        return [promise.id for promise, _ in ledger.tagged(query)]

    assert found_by("message_id", "web-7") == ["order-2", "order-1"]
    assert found_by("message_id", "web-7", limit=1) == ["order-2"]
    assert found_by("attempt", "1") == ["order-1"]
    assert found_by("message_id", "web") == []
