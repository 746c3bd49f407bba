"""A minute of calls while ledgers, workers and the broker die and stand still at random moments."""

from __future__ import annotations

import functools
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resonate_amqp import Resonate
from resonate_amqp.dev.broker import PrivateBroker
from tests.chaos.load import Load, reconcile
from tests.chaos.monkey import Monkey, Place
from tests.scenarios.system import System, wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.processes, pytest.mark.timeout(400)]

SEED: int | None = None
"""Give the seed of a run that failed to draw the same moments again."""
PLAYS_S = 60.0
LEASES = {"heartbeat": 2, "lease": 5.0, "refresh": 1.0}
WORKERS = [LEASES, LEASES | {"park_after": 0.2, "hold_max": 0.5}]


@pytest.fixture
def breakable(tmp_path: Path) -> Iterator[PrivateBroker]:
    """A broker of this test's own, which is killed and comes back with what it had on disk."""
    with PrivateBroker(tmp_path / "node") as node:
        yield node


def test_a_minute_of_random_kills_and_pauses_loses_and_repeats_nothing(
    breakable: PrivateBroker, tmp_path: Path
) -> None:
    seed = secrets.randbelow(1_000_000) if SEED is None else SEED
    system = System(breakable.new_vhost(), tmp_path)
    monkey = Monkey(seed, _places(system), breakable)
    try:
        system.wait_for_ledger(2)
        for group in ("service-a", "service-b", "service-c"):
            system.wait_for_consumers(group, 2)
        # A confirm says that a message is on disk, not yet the definition of its queue.
        breakable.control("eval", "mnesia:sync_log().")
        resonate = Resonate(system.url, group="gateway", heartbeat=2)
        load = Load(resonate, seed)
        try:
            monkey.play(PLAYS_S)
            results = load.results()
        finally:
            load.end()
            resonate.stop()
        wait_until("nothing is left over", lambda: not system.leftovers(), 60)
        reconcile(system, results, monkey.paused)
        system.end()
    except BaseException:
        sys.stdout.write(f"seed {seed}\n" + "\n".join(monkey.moments) + "\n")
        raise
    finally:
        system.kill_all()
        sys.stdout.write(system.logs())


def _places(system: System) -> list[Place]:
    starts = {f"ledger {number}": functools.partial(system.ledger, **LEASES) for number in (1, 2)}
    for letter in "abc":
        for number, settings in enumerate(WORKERS):
            start = functools.partial(system.worker, f"chain:{letter}", **settings)
            starts[f"{letter} {number}"] = start
    return [Place(name, start, start()) for name, start in starts.items()]
