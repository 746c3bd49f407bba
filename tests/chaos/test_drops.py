"""Both connections of a process cut at each window, while it goes on as if nothing had happened.

It connects again by itself, so its work may come back to it or go to another one.
"""

from __future__ import annotations

import contextlib

import pytest

from resonate_amqp.resonate.failpoints import Fate
from tests.scenarios.system import System, wait_until
from tests.scenarios.windows import LEDGER, WINDOWS, BrokenChain, Window

pytestmark = [pytest.mark.chaos, pytest.mark.processes]


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_a_process_cut_off_at_a_window_costs_nothing_that_was_recorded(
    system: System, window: Window
) -> None:
    chain = BrokenChain(system, window, Fate.DROP)
    with contextlib.closing(chain):
        chain.run(lambda: wait_until(f"the victim is at {window.place}", chain.reached))
        chain.check(strays=set() if window.victim == LEDGER else {chain.victim.pid})
        system.end()
