"""A function called every second, while its ledger, or everything, is dead for several of them."""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime, timedelta

import pytest

from resonate_amqp import Resonate
from tests.scenarios.system import System, wait_until

pytestmark = pytest.mark.processes

MISSED_S = 4


def ticks(system: System) -> list[str]:
    return [run.promise_id for run in system.journal.runs("chime")]


def instant(tick: str) -> datetime:
    return datetime.strptime(tick, "chime.%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


@pytest.mark.parametrize("killed", ["ledger", "everything"])
def test_each_tick_that_was_missed_is_called_once(system: System, killed: str) -> None:
    ledger = system.ledger()
    system.worker("clock:t")
    system.wait_for_run("chime", 2)
    if killed == "ledger":
        ledger.kill()
    else:
        system.kill_all()
    dead_at = datetime.now(UTC)
    back_at = time.time() + MISSED_S
    wait_until("several ticks have passed", lambda: time.time() > back_at)
    assert len(ticks(system)) < 2 + MISSED_S
    system.ledger()
    if killed == "everything":
        system.worker("clock:t")
    missed = {dead_at + timedelta(seconds=second) for second in range(1, MISSED_S)}
    expected = {f"chime.{tick:%Y%m%dT%H%M%SZ}" for tick in missed}
    wait_until("what was missed is called", lambda: expected <= set(ticks(system)))
    client = Resonate(system.url, group="client")
    assert client.schedules.delete("chime")
    client.stop()
    system.end()

    made = {row[0] for row in system.query("SELECT id FROM promises")}
    began = sorted(set(ticks(system)))
    assert set(began) == made
    seconds = {instant(later) - instant(one) for one, later in itertools.pairwise(began)}
    assert seconds == {timedelta(seconds=1)}
    if killed == "ledger":
        assert len(ticks(system)) == len(began)
