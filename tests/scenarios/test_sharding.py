"""Several ledger queues over real processes: divided while calls run, and trees that meet."""

from __future__ import annotations

import pytest

from resonate_amqp import Resonate
from resonate_amqp.core.model import SHARDS, shard_of
from tests.scenarios.system import System, wait_until

pytestmark = pytest.mark.processes


def queue_of(promise_id: str) -> int:
    """Which of two ledger queues keeps a promise."""
    return shard_of(promise_id) * 2 // SHARDS


def kept_by(queue: int, prefix: str) -> str:
    """An id that one of two queues keeps."""
    return next(one for n in range(1000) if queue_of(one := f"{prefix}-{n}") == queue)


def divide(system: System) -> None:
    assert system.run("ledger", "reshard", "--queues", "2").splitlines() == [
        "resonate.ledger.0 keeps 32 shards",
        "resonate.ledger.1 keeps 32 shards",
    ]


def wait_for_both(system: System) -> None:
    for number in (0, 1):
        system.wait_for_ledger(number=number)


def times(system: System) -> dict[int, int]:
    """By queue, the time of its last transaction."""
    return {row[0]: row[1] for row in system.query("SELECT queue, now FROM ledger_queues")}


def test_calls_that_run_while_the_ledger_is_divided_are_neither_lost_nor_run_twice(
    system: System,
) -> None:
    numbers = {f"call-{number}": number for number in range(100)}
    system.journal.close_gate("work")
    ledger = system.ledger()
    system.worker("a", prefetch=200)
    system.worker("c", threads=64)
    given = [f"{promise_id}={number}" for promise_id, number in numbers.items()]
    gateway = system.gateway(*given, function="twice")
    system.wait_for_run("work", 20)
    divide(system)
    system.journal.open_gate("work")
    wait_until("every call has its result", lambda: len(gateway.results()) == 100)
    assert gateway.results() == {promise_id: 2 * n for promise_id, n in numbers.items()}
    assert gateway.wait() == 0
    for function in ("twice", "work"):
        ids = [run.promise_id for run in system.journal.runs(function)]
        assert len(ids) == len(set(ids)) == 100
    wait_for_both(system)
    before = times(system)
    both = [kept_by(queue, "later") for queue in (0, 1)]
    later = system.gateway(*(f"{one}=4" for one in both), function="twice")
    wait_until("both calls have their results", lambda: len(later.results()) == 2)
    assert later.results() == dict.fromkeys(both, 8)
    assert all(time > before[queue] for queue, time in times(system).items())
    ledger.terminate()
    assert ledger.wait() == 0
    system.ledger()
    wait_for_both(system)
    both = [kept_by(queue, "last") for queue in (0, 1)]
    last = system.gateway(*(f"{one}=5" for one in both), function="twice")
    wait_until("both calls have their results", lambda: len(last.results()) == 2)
    assert (later.wait(), last.wait()) == (0, 0)
    system.end()


def test_what_waits_in_any_queue_is_listed_and_set_going(system: System) -> None:
    system.run("ledger", "migrate")
    divide(system)
    system.ledger()
    wait_for_both(system)
    both = [kept_by(queue, "call") for queue in (0, 1)]
    gateway = system.gateway(*(f"{one}=1" for one in both), function="work", to="service-c")
    wait_until("both calls are recorded", lambda: gateway.recorded() == 2)
    assert system.stuck().keys() == set(both)
    for one in both:
        assert system.run("tasks", "halt", one) == f"{one} halted\n"
        assert system.run("tasks", "redrive", one) == f"{one} pending\n"
    system.worker("c")
    wait_until("both calls have their results", lambda: len(gateway.results()) == 2)
    assert gateway.wait() == 0
    system.end()


@pytest.mark.parametrize("time", [1, 2], ids=["called", "awaited"])
@pytest.mark.parametrize("queue", [0, 1])
def test_a_ledger_killed_between_a_mirror_and_the_promise_it_names_loses_neither(
    system: System, queue: int, time: int
) -> None:
    """The parent is kept by one queue, and what it calls and awaits by the other."""
    system.run("ledger", "migrate")
    divide(system)
    ledger = system.ledger(f"mirror.written@{time}=kill")
    system.worker("linking:a")
    system.worker("c")
    wait_for_both(system)
    parent = kept_by(queue, "parent")
    number = next(
        n for n in range(1000) if queue_of(f"order-{n}") == queue_of(f"approval-{n}") == 1 - queue
    )
    with Resonate(system.url, group="gateway") as resonate:
        resonate.promises.create(f"approval-{number}")
        handle = resonate.options(target="service-a").rpc(parent, "order", number)
        assert ledger.wait() != 0
        system.ledger()
        system.wait_for_run("work")
        resonate.promises.resolve(f"approval-{number}", "yes")
        assert handle.result(timeout=20) == [2 * number, "yes"]
        again = resonate.options(target="service-c").rpc(f"order-{number}", "work", number)
        assert again.result(timeout=20) == 2 * number
    assert system.journal.counts() == {"order": 1, "work": 1}
    system.end()
