"""`kill -9` of one process at each window of a call's life, with another one standing by."""

from __future__ import annotations

import contextlib
import signal

import pytest

from resonate_amqp.resonate.failpoints import Fate
from tests.scenarios.system import System
from tests.scenarios.windows import WINDOWS, BrokenChain, Window

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_a_process_killed_at_a_window_costs_nothing_that_was_recorded(
    system: System, window: Window
) -> None:
    chain = BrokenChain(system, window, Fate.KILL)

    def killed() -> None:
        assert chain.victim.wait() == -signal.SIGKILL

    with contextlib.closing(chain):
        chain.run(killed)
        chain.check()
        system.end()
