"""A cluster whose queues lose their leader while orders are published and worked on."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from resonate_amqp.wire.address import any_queue, ledger_queue
from tests.chaos.cluster import Member, cluster, urls
from tests.chaos.orders import QUEUES, Stream, consumers, reconcile
from tests.ext.kombu.processes import GROUP, ShopSystem
from tests.scenarios.system import wait_until

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.rabbitmq,
    pytest.mark.processes,
    pytest.mark.timeout(200),
]

NODES = 3
ORDERS = 30
"""To each of the two queues."""
DOWN_S = 2.0
HEARTBEAT = 2
QUORUM = {"x-queue-type": "quorum"}


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Member]]:
    with cluster(tmp_path_factory.mktemp("nodes"), NODES) as made:
        yield made


@pytest.fixture
def shop(members: list[Member], tmp_path: Path) -> Iterator[ShopSystem]:
    made = ShopSystem(members[0].new_vhost(), tmp_path)
    yield made
    made.kill_all()
    sys.stdout.write(made.logs())


def led_by(member: Member, vhost_url: str) -> set[str]:
    """The queues whose process is on this node."""
    vhost = unquote(urlsplit(vhost_url).path[1:])
    lines = member.control("list_queues", "-p", vhost, "--no-table-headers", "name", "pid")
    rows = [line.split("\t") for line in lines.splitlines()]
    return {name for name, pid in rows if pid.startswith(f"<{member.name}.")}


@pytest.mark.parametrize("with_ledger", [False, True], ids=["leader", "leader-and-ledger"])
def test_every_confirmed_order_outlives_the_leader_of_its_queue(
    members: list[Member], shop: ShopSystem, with_ledger: bool
) -> None:
    """All but the ledger are connected to the leader; the ledger's classic queue waits for it."""
    vhost_url = shop.url
    leader = members[0 if with_ledger else 1]
    others = [one for one in members if one is not leader]
    shop.url = urls(members, vhost_url)
    shop.ledger(heartbeat=HEARTBEAT)
    shop.wait_for_ledger()
    shop.url = urls([leader, *others], vhost_url)
    quorums = [*QUEUES, any_queue(GROUP), any_queue("service-c")]
    for queue in quorums:
        shop.queue(queue, **QUORUM)
    shop.worker("c", heartbeat=HEARTBEAT)
    consumers(shop, HEARTBEAT)
    stream = Stream(shop, ORDERS, confirm_s=5.0, heartbeat=HEARTBEAT)
    with contextlib.closing(stream):
        led = led_by(leader, vhost_url)
        assert led.issuperset(quorums)
        assert (ledger_queue(0) in led) == with_ledger
        stream.start()
        stream.wait_for(ORDERS // 2)
        shop.wait_for_run("plain")
        leader.kill()
        killed_at = time.monotonic()
        wait_until("it is down for a while", lambda: time.monotonic() > killed_at + DOWN_S)
        confirmed = len(stream.confirmed)
        leader.start()
        back_at = time.monotonic()
        again = reconcile(shop, stream)
    sys.stdout.write(f"{confirmed} confirmed before the node came back\n")
    assert stream.failures
    assert all(killed_at - 1 < runs[0].at < back_at + 1 for runs in again.values()), again
