"""`kill -9` of one process in the middle of the chain: finished bodies never run again.

The chain is held while baz works: foo and bar wait for it in memory, the local step is recorded.
"""

from __future__ import annotations

import pytest

from tests.scenarios.system import System, wait_until

pytestmark = pytest.mark.processes

ONCE = {"foo": 1, "bar": 1, "note": 1, "baz": 1}


@pytest.mark.parametrize(
    ("killed", "again"), [("a", "foo"), ("b", "bar"), ("c", "baz")], ids=["a", "b", "c"]
)
def test_a_killed_worker_costs_its_own_body_a_second_run_and_nobody_else_one(
    system: System, killed: str, again: str
) -> None:
    system.journal.close_gate("baz")
    system.ledger()
    workers = dict(zip("abc", system.workers("abc"), strict=True))
    gateway = system.gateway("chain")
    system.wait_for_run("baz")
    workers[killed].kill()
    system.worker(killed)
    system.wait_for_run(again, 2)
    system.journal.open_gate("baz")
    assert system.result(gateway) == 3
    assert system.journal.counts() == ONCE | {again: 2}
    system.end()


def test_a_killed_ledger_goes_on_where_it_was(system: System) -> None:
    system.journal.close_gate("baz")
    ledger = system.ledger()
    system.workers("abc")
    gateway = system.gateway("chain")
    system.wait_for_run("baz")
    ledger.kill()
    system.journal.open_gate("baz")
    system.ledger()
    assert system.result(gateway) == 3
    assert system.journal.counts() == ONCE
    system.end()


@pytest.mark.parametrize("finished", [False, True], ids=["running", "finished"])
def test_the_call_of_a_killed_gateway_is_found_by_another_under_its_id(
    system: System, finished: bool
) -> None:
    system.journal.close_gate("baz")
    system.ledger()
    system.workers("abc")
    first = system.gateway("chain")
    system.wait_for_run("baz")
    first.kill()
    if finished:
        system.journal.open_gate("baz")
        wait_until("the chain has ended", lambda: system.task_state("chain") == "fulfilled")
    second = system.gateway("chain")
    wait_until("the call is known", second.recorded)
    if not finished:
        system.journal.open_gate("baz")
    assert system.result(second) == 3
    assert system.journal.counts() == ONCE
    system.end()


def test_everything_killed_at_once_goes_on_after_a_new_start(system: System) -> None:
    system.journal.close_gate("baz")
    system.ledger()
    system.workers("abc")
    system.gateway("chain")
    system.wait_for_run("baz")
    system.kill_all()
    system.ledger()
    system.workers("abc")
    gateway = system.gateway("chain")
    system.wait_for_run("baz", 2)
    system.journal.open_gate("baz")
    assert system.result(gateway) == 3
    assert system.journal.counts() == {"foo": 2, "bar": 2, "note": 1, "baz": 2}
    system.end()


def test_a_standby_takes_a_killed_worker_over_at_once(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    """A message of a dead process is back in its queue in milliseconds; no timer is involved."""
    system.journal.close_gate("baz")
    system.ledger()
    workers = {worker.pid: worker for worker in system.workers("abbc")}
    for group in ("service-a", "service-b", "service-c"):
        system.wait_for_consumers(group, 2 if group == "service-b" else 1)
    gateway = system.gateway("chain")
    system.wait_for_run("baz")
    (first,) = system.journal.runs("bar")
    killed_at = workers[first.pid].kill()
    system.wait_for_run("bar", 2)
    second = system.journal.runs("bar")[1]
    system.journal.open_gate("baz")
    assert system.result(gateway) == 3
    assert system.journal.counts() == ONCE | {"bar": 2}
    assert second.pid in workers.keys() - {first.pid}
    took_ms = (second.at - killed_at) * 1000
    with capsys.disabled():
        print(f"\n  from b's kill -9 to bar in the other b: {took_ms:.1f} ms")
    assert took_ms < 5_000, f"the takeover took {took_ms:.1f} ms"
    system.end()


def test_a_ledger_killed_again_and_again_under_load_loses_and_repeats_nothing(
    system: System,
) -> None:
    """Fifty calls in flight; the ledger dies while they are recorded, and while they end."""
    numbers = {f"call-{number}": number for number in range(50)}
    system.journal.close_gate("work")
    ledger = system.ledger()
    system.worker("a")
    system.worker("c", threads=64)
    given = [f"{promise_id}={number}" for promise_id, number in numbers.items()]
    gateway = system.gateway(*given, function="twice")
    system.wait_for_run("work", 10)
    ledger.kill()
    ledger = system.ledger()
    system.wait_for_run("work", 50)
    wait_until("every call is recorded", lambda: gateway.recorded() == 50)
    system.journal.open_gate("work")
    wait_until("the first call has ended", lambda: system.fulfilled("twice") >= 1)
    ledger.kill()
    ledger = system.ledger()
    wait_until("most calls have ended", lambda: system.fulfilled("twice") >= 30)
    ledger.kill()
    system.ledger()
    wait_until("every call has its result", lambda: len(gateway.results()) == 50)
    assert gateway.results() == {promise_id: 2 * n for promise_id, n in numbers.items()}
    assert gateway.wait() == 0
    for function in ("twice", "work"):
        ids = [run.promise_id for run in system.journal.runs(function)]
        assert len(ids) == len(set(ids)) == 50
    system.end()
