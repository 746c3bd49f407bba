"""What a caller sees: a service that starts late, one id called twice, a ledger that is away."""

from __future__ import annotations

import time

import pytest

from tests.scenarios.system import System, wait_until

pytestmark = pytest.mark.processes

ONCE = {"foo": 1, "bar": 1, "note": 1, "baz": 1}


def test_a_call_waits_for_a_service_that_never_ran(system: System) -> None:
    system.ledger()
    system.workers("ab")
    gateway = system.gateway("chain")
    system.wait_for_run("note")
    wait_until("baz is called", lambda: system.task_state("chain:1.2") == "pending")
    wait_until("its message is there", lambda: system.waiting("service-c") == 1)
    assert gateway.results() == {}
    system.worker("c")
    assert system.result(gateway) == 3
    assert system.journal.counts() == ONCE
    system.end()


def test_one_id_called_by_two_processes_at_once_is_one_execution(system: System) -> None:
    """Ten ids, so that the two do meet; both are ready before either may call."""
    ids = [f"same-{number}" for number in range(10)]
    system.ledger()
    system.workers("abc")
    system.journal.close_gate("gateway")
    gateways = [system.gateway(*ids) for _ in range(2)]
    wait_until("both are ready", lambda: all(gateway.said() for gateway in gateways))
    for group in ("service-a", "service-b", "service-c"):
        system.wait_for_consumers(group, 1)
    system.journal.open_gate("gateway")
    for gateway in gateways:
        assert gateway.wait() == 0
        assert gateway.results() == dict.fromkeys(ids, 3)
    assert system.journal.counts() == dict.fromkeys(ONCE, 10)
    system.end()


def test_a_call_while_the_ledger_is_away_takes_longer(system: System) -> None:
    ledger = system.ledger()
    system.workers("abc")
    system.wait_for_ledger()
    ledger.kill()
    gateway = system.gateway("chain")
    wait_until("the gateway runs", gateway.said)
    time.sleep(3)
    assert gateway.running
    assert not gateway.recorded()
    system.ledger()
    assert system.result(gateway) == 3
    assert system.journal.counts() == ONCE
    system.end()


def test_a_call_that_the_ledger_never_answered_may_be_made_again(system: System) -> None:
    ledger = system.ledger()
    system.workers("abc")
    # Its queue is bound only a moment after it is there.
    assert system.result(system.gateway("before=1", function="work", to="service-c")) == 2
    ledger.kill()
    hasty = system.gateway("chain", request_timeout=5)
    assert system.result(hasty) == "LedgerError", hasty.said()
    assert "whether it recorded the call is unknown" in hasty.said()[-1]["message"]
    system.ledger()
    assert system.result(system.gateway("chain")) == 3
    assert system.journal.counts() == ONCE | {"work": 1}
    system.end()
