"""What waits, the worst first, and what each of it waits for."""

from __future__ import annotations

import pytest

from resonate_amqp.core.model import TARGET, Promise, PromiseState, Task, TaskState, Value
from resonate_amqp.operate.stuck import Stuck, explain

PENDING = TaskState.PENDING
HALTED = TaskState.HALTED
ACQUIRED = TaskState.ACQUIRED


def promise(promise_id: str, target: str = "poll://any@shop", **changes: object) -> Promise:
    made = Promise(
        id=promise_id,
        state=PromiseState.PENDING,
        param=Value({"func": "pack"}, ""),
        tags={TARGET: target},
        timeout_at=9_000,
        created_at=100,
    )
    return made.but(**changes)


@pytest.mark.parametrize(
    ("task", "waits_for"),
    [
        (Task(id="r", state=PENDING, retry_at=500), "a worker that takes it from {queue}"),
        (Task(id="r", state=ACQUIRED, acquired_at=500, pid="p7"), "its holder p7"),
    ],
    ids=["pending", "acquired"],
)
def test_a_task_waits_for_whoever_has_it_or_should_take_it(task: Task, waits_for: str) -> None:
    expected = Stuck("r", task.state, "pack", 500, waits_for.format(queue="resonate.any.shop"))
    assert explain([(promise("r"), task)]) == [expected]


def test_a_call_to_one_process_waits_for_that_process() -> None:
    (one,) = explain(
        [(promise("r", "poll://uni@shop/p1"), Task(id="r", state=PENDING, retry_at=1))]
    )
    assert one.waits_for == "a worker that takes it from resonate.uni.shop.p1"


def test_a_call_to_a_queue_of_others_waits_for_an_answer_until_somebody_claims_it() -> None:
    called = promise("r", "celery://new%20orders")
    waits = [
        explain([(called, Task(id="r", state=PENDING, version=version, retry_at=1))])[0].waits_for
        for version in (0, 1)
    ]
    assert waits == [
        "whoever takes it from new orders to answer (a Celery worker whose accept_content lacks "
        "json has discarded it)",
        "a worker that takes it from new orders",
    ]


@pytest.mark.parametrize("reason", ["lost 11 times without progress", ""])
def test_a_halted_task_waits_for_somebody_and_says_why(reason: str) -> None:
    (one,) = explain([(promise("r"), Task(id="r", state=HALTED, reason=reason))])
    assert (one.since, one.state) == (None, HALTED)
    assert one.waits_for == f"somebody to redrive it: {reason or 'no reason was given'}"


def test_what_is_halted_comes_first_then_what_has_waited_longest() -> None:
    tasks = [
        Task(id="young", state=PENDING, retry_at=800),
        Task(id="held", state=ACQUIRED, acquired_at=100, pid="p"),
        Task(id="old", state=PENDING, retry_at=200),
        Task(id="halted", state=HALTED),
    ]
    found = explain([(promise(task.id), task) for task in tasks])
    assert [one.id for one in found] == ["halted", "old", "young", "held"]


def test_what_waits_for_nobody_is_left_out() -> None:
    settled = promise("done", state=PromiseState.RESOLVED, settled_at=300)
    found = explain(
        [
            (settled, Task(id="done", state=HALTED)),
            (promise("external", target=""), None),
            (promise("parked"), Task(id="parked", state=TaskState.SUSPENDED)),
        ]
    )
    assert found == []
