"""A process stopped at each window, continued when its work has long gone to another one.

Only its consuming connection is closed meanwhile, so what it goes on to write does arrive, and has
to be refused. The steps are held back then: nothing else writes, so whatever changes is its doing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Any

import pytest

from resonate_amqp.dev.broker import PrivateBroker
from resonate_amqp.resonate.failpoints import Fate
from resonate_amqp.runtime.early import WITHIN_MS
from tests.chaos.cutting import close_consuming, stands_still
from tests.scenarios.system import WAIT_S, System, wait_until
from tests.scenarios.windows import (
    LEDGER,
    PARK_AFTER_S,
    STEPS,
    WINDOWS,
    BrokenChain,
    Window,
)

pytestmark = [pytest.mark.chaos, pytest.mark.processes]

OLD_S = WITHIN_MS / 1000
"""A fresh execute may be begun before the ledger has answered; a broker that has given the work of
a silent process to another one has waited for much longer than that."""


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_what_a_paused_process_writes_when_it_goes_on_is_refused(
    node: PrivateBroker, system: System, window: Window
) -> None:
    chain = BrokenChain(system, window, Fate.PAUSE)
    with contextlib.closing(chain):
        chain.run(lambda: _continued_late(node, chain))
        chain.check(strays=set() if window.victim == LEDGER else {chain.victim.pid})
        system.end()


def _continued_late(node: PrivateBroker, chain: BrokenChain) -> None:
    window, victim, journal = chain.window, chain.victim, chain.system.journal
    wait_until(f"the victim is at {window.place}", lambda: stands_still(victim.pid))
    since = time.monotonic()
    gates = [name for name in STEPS if not (name == "leaf" and window.parked)]
    gates = [name for name in gates if name != window.held]
    for name in gates:
        journal.close_gate(name)
    begun = len(journal.runs())
    close_consuming(node, victim.pid)
    chain.stand_by()
    wait_until(
        "others have gone on",
        lambda: len(journal.runs()) > begun or chain.done() or chain.all_parked(),
    )
    wait_until("what it has to publish is old", lambda: time.monotonic() - since > OLD_S)
    before = _records_at_rest(chain.system)
    os.kill(victim.pid, signal.SIGCONT)
    wait_until("the victim takes part again", lambda: _connected(chain) == 2)
    chain.ask()
    assert _records(chain.system) == before
    for name in gates:
        journal.open_gate(name)


def _connected(chain: BrokenChain) -> int:
    return chain.victim.log.read_text(encoding="utf-8").count(" connected to ")


def _records_at_rest(system: System) -> list[tuple[Any, ...]]:
    """The records once they have not changed for longer than anybody waits before parking."""
    found, since = _records(system), time.monotonic()
    deadline = since + WAIT_S
    while time.monotonic() < since + 4 * PARK_AFTER_S:
        assert time.monotonic() < deadline, "others never come to rest"
        now = _records(system)
        if now != found:
            found, since = now, time.monotonic()
    return found


def _records(system: System) -> list[tuple[Any, ...]]:
    return [
        *system.query("SELECT * FROM promises ORDER BY id"),
        *system.query("SELECT id, state, version, holder FROM tasks ORDER BY id"),
    ]
