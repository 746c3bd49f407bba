"""A broker that waits three seconds for an acknowledgement, and work that takes longer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resonate_amqp import Resonate
from resonate_amqp.dev.broker import PrivateBroker
from tests.scenarios.system import System

pytestmark = [pytest.mark.chaos, pytest.mark.processes]

TIMEOUT_MS = 3_000
LASTS_S = 3 * TIMEOUT_MS / 1000
CONFIGURATION = (
    f"[{{rabbit, [{{consumer_timeout, {TIMEOUT_MS}}}, {{channel_tick_interval, 500}}]}}].\n"
)
MET = "timed out"
"""What the broker says when it closes a channel for want of an acknowledgement."""


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateBroker]:
    """A broker that looks twice a second for deliveries that are too old."""
    home = tmp_path_factory.mktemp("impatient")
    (home / "advanced.config").write_text(CONFIGURATION, encoding="ascii")
    with PrivateBroker(home) as node:
        yield node


@pytest.fixture
def system(impatient: PrivateBroker, tmp_path: Path) -> Iterator[System]:
    made = System(impatient.new_vhost(), tmp_path)
    yield made
    made.kill_all()
    sys.stdout.write(made.logs())


def run(system: System, hold_max_s: float) -> str:
    """Call the chain with a leaf of three ack timeouts; answers what the workers logged."""
    system.ledger()
    workers = [system.worker(f"chain:{letter}", hold_max=hold_max_s) for letter in "abc"]
    system.wait_for_ledger()
    resonate = Resonate(system.url, group="gateway")
    try:
        handle = resonate.options(target="service-a").rpc("chain", "outer", LASTS_S)
        assert set(handle.result(LASTS_S * 4)) == {"before", "prepare", "leaf", "conclude", "after"}
    finally:
        resonate.stop()
    return "".join(worker.log.read_text(encoding="utf-8") for worker in workers)


def test_work_of_three_ack_timeouts_never_meets_one(system: System) -> None:
    """The leaf goes on under a lease without a delivery; those who wait for it are parked."""
    logged = run(system, hold_max_s=1.0)
    assert MET not in logged
    assert "suspended" in logged
    steps = ["before", "prepare", "leaf", "conclude", "after"]
    assert system.journal.counts() == dict.fromkeys(steps, 1)
    system.end()


def test_a_delivery_held_for_longer_meets_it(system: System) -> None:
    """The broker does mean it, and even so nothing is lost."""
    assert MET in run(system, hold_max_s=600.0)
    system.end()
