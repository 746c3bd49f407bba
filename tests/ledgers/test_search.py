"""What an operator asks a ledger for: tasks by state, and promises by a tag."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from resonate_amqp.core.batch import Batch
from resonate_amqp.core.model import TaskState
from resonate_amqp.core.pages import START, Cursor, by_age, by_id, by_state
from resonate_amqp.core.requests import (
    Group,
    PromiseCreate,
    PromiseSearch,
    Request,
    TaskHalt,
    TaskSearch,
)
from resonate_amqp.ports import Ledger
from tests.core.world import DEADLINE, NOW, acquire, call, external, fence, scheduled

LATE = NOW + 1_000
RED = {"color": "red"}
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


def pages(ask: Callable[[Cursor], list[Cursor]]) -> list[str]:
    """The ids that are found page by page, each asked for with where the one before ended."""
    ids: list[str] = []
    page = ask(START)
    while page:
        ids += [one.id for one in page]
        page = ask(page[-1])
    return ids


@pytest.mark.parametrize("size", [1, 2, 4])
def test_pages_of_tasks_hold_each_of_them_once_and_in_order(kept: Ledger, size: int) -> None:
    def ask(cursor: Cursor) -> list[Cursor]:
        query = TaskSearch(states=STATES, before=LATE, limit=size, cursor=cursor)
        return [by_state(promise, task) for promise, task in kept.search(query) if task]

    assert pages(ask) == found(kept, *STATES)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_pages_of_a_tree_and_of_a_tag_hold_each_promise_once_and_in_order(
    ledger: Ledger, size: int
) -> None:
    at(ledger, NOW, call("a"), acquire("a"), tagged("b", {"color": "red"}))
    for number, clock in ((2, NOW), (1, NOW), (3, NOW + 1), (10, NOW + 1)):
        at(ledger, clock, fence("a", external(f"a:{number}")), tagged(f"c{number}", RED))

    def tree(cursor: Cursor) -> list[Cursor]:
        return [by_age(promise) for promise, _ in ledger.tree("a", size, cursor)]

    def red(cursor: Cursor) -> list[Cursor]:
        query = PromiseSearch(name="color", value="red", limit=size, cursor=cursor)
        return [by_age(promise) for promise, _ in ledger.tagged(query)]

    assert pages(tree) == ["a", "a:1", "a:2", "a:10", "a:3"]
    assert pages(red) == ["b", "c1", "c2", "c10", "c3"]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_pages_of_schedules_hold_each_of_them_once_and_in_order(ledger: Ledger, size: int) -> None:
    at(ledger, NOW, *(scheduled(name) for name in ("b", "aa", "B", "a-b")))

    def ask(cursor: Cursor) -> list[Cursor]:
        return [by_id(schedule) for schedule in ledger.timetable(size, cursor)]

    assert pages(ask) == ["B", "a-b", "aa", "b"]


def test_a_task_whose_deadline_has_passed_waits_for_nothing(kept: Ledger) -> None:
    at(kept, DEADLINE, call("late", 2 * DEADLINE))
    assert found(kept, *STATES, before=2 * DEADLINE) == ["late"]


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
