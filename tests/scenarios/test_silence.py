"""A ledger that is down: who waits for it says so, once, and says when it answers again."""

from __future__ import annotations

import pytest

from tests.scenarios.system import System, wait_until

pytestmark = pytest.mark.processes


def test_a_worker_that_waits_for_the_ledger_says_so_once_and_when_it_is_back(
    system: System,
) -> None:
    system.journal.close_gate("work")
    ledger = system.ledger()
    worker = system.workers("ac")[1]
    gateway = system.gateway("call=1", function="twice")
    system.wait_for_run("work")
    ledger.kill()
    system.journal.open_gate("work")

    def said(what: str) -> int:
        return worker.log.read_text(encoding="utf-8").count(what)

    wait_until("the worker says so", lambda: said("requests to the ledger wait for"))
    system.ledger()
    assert system.result(gateway) == 2
    wait_until("the worker says so", lambda: said("the ledger answers again"))
    assert said("requests to the ledger wait") == 1
    system.end()
