"""The broker itself goes down and comes back, in the middle of the chain and after its end.

With the connection go the leases under its deliveries: every body that waits begins again, and a
leaf that runs goes on. What was recorded stays.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from resonate_amqp.dev.broker import PrivateBroker
from tests.scenarios.system import System, wait_until

pytestmark = [pytest.mark.processes, pytest.mark.rabbitmq]

AFTER = {"foo": 2, "bar": 2, "note": 1, "baz": 1}
"""How often each body began: a leaf that runs goes on when its task comes back to its process."""


@pytest.fixture
def system(node: PrivateBroker, tmp_path: Path) -> Iterator[System]:
    """A system on that node."""
    made = System(node.new_vhost(), tmp_path)
    yield made
    made.kill_all()
    sys.stdout.write(made.logs())


def queues_are_old(home: Path, system: System) -> bool:
    """Whether the node would know its quorum queues after a crash.

    It writes the name of a new one to disk only some seconds later (seen in 3.10); one that it
    does not know again starts empty, without a leader, and answers nobody.
    """
    (names,) = home.glob("mnesia/*/quorum/*/names.dets")
    vhost = urlsplit(system.url).path.removeprefix("/")
    known = names.read_bytes()
    return all(f"{vhost}_resonate.any.service-{x}".encode() in known for x in "abc")


@pytest.mark.parametrize("crash", [False, True], ids=["in order", "crash"])
def test_a_chain_survives_a_restart_of_the_broker(
    node: PrivateBroker, home: Path, system: System, crash: bool
) -> None:
    system.journal.close_gate("baz")
    system.ledger()
    system.workers("abc")
    gateway = system.gateway("chain")
    system.wait_for_run("baz")
    if crash:
        wait_until("the queues are known on disk", lambda: queues_are_old(home, system))
        node.kill()
    node.restart()
    for function in ("foo", "bar"):
        system.wait_for_run(function, 2)
    system.journal.open_gate("baz")
    assert system.result(gateway) == 3
    assert system.journal.counts() == AFTER
    system.end()


def test_a_result_outlives_everything_that_made_it(node: PrivateBroker, system: System) -> None:
    """Nothing serves the functions any more: the second answer can only be the record."""
    system.ledger()
    system.workers("abc")
    assert system.result(system.gateway("chain")) == 3
    counts = system.journal.counts()
    system.end()
    node.restart()
    system.ledger()
    assert system.result(system.gateway("chain")) == 3
    assert system.journal.counts() == counts
    system.end()
