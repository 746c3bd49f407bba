"""A cluster of three nodes, each of which is killed in the middle of calls and comes back."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from resonate_amqp import Resonate
from tests.chaos.cluster import cluster, urls
from tests.chaos.load import Load, reconcile
from tests.scenarios.system import System, wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.processes, pytest.mark.timeout(400)]

NODES = 3
DOWN_S = 3.0


def test_every_node_of_a_cluster_may_be_killed_in_turn(tmp_path: Path) -> None:
    with cluster(tmp_path / "nodes", NODES) as members:
        system = System(urls(members, members[0].new_vhost()), tmp_path)
        try:
            for _ in range(2):
                system.ledger(heartbeat=2)
            workers = [system.worker(f"chain:{one}", heartbeat=2) for one in "abcabc"]
            system.wait_for_ledger(2)
            for group in ("service-a", "service-b", "service-c"):
                system.wait_for_consumers(group, 2)
            resonate = Resonate(system.url, group="gateway", heartbeat=2)
            load = Load(resonate, seed=0)
            try:
                for member in members:
                    time.sleep(DOWN_S)
                    member.kill()
                    time.sleep(DOWN_S)
                    member.start()
                results = load.results()
            finally:
                load.end()
                resonate.stop()
            wait_until("nothing is left over", lambda: not system.leftovers(), 60)
            assert all(worker.running for worker in workers)
            reconcile(system, results)
            system.end()
        finally:
            system.kill_all()
            sys.stdout.write(system.logs())
