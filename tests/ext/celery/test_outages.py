"""Outages of the broker and of the ledger: tasks wait them out, and none runs twice to an end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resonate_amqp.dev.binaries import installed
from resonate_amqp.dev.broker import PrivateBroker
from tests.ext.celery.system import Shop
from tests.scenarios.system import Process, wait_until

pytestmark = [pytest.mark.rabbitmq, pytest.mark.processes]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[PrivateBroker]:
    """A node of the test's own, to break."""
    if not installed():
        pytest.skip("rabbitmq-server is not installed; `make system` installs it")
    with PrivateBroker(tmp_path / "node") as started:
        yield started


@pytest.fixture
def broken_shop(node: PrivateBroker, tmp_path: Path) -> Iterator[Shop]:
    made = Shop(node.url, tmp_path)
    try:
        yield made
    finally:
        made.kill_all()
        sys.stdout.write(made.logs())


def test_tasks_of_a_quorum_queue_outlive_the_ledger_and_the_broker(
    node: PrivateBroker, broken_shop: Shop
) -> None:
    shop = broken_shop
    ledger: Process = shop.ledger()
    shop.wait_for_ledger()
    shop.celery(quorum=True)
    with shop.client("disabled://", quorum=True) as client:
        shop.journal.close_gate("charge")
        sent = [client.send("fulfil", str(number)).id for number in range(3)]
        wait_until("an innermost task runs", lambda: shop.journal.runs("charge"))
        ledger.kill()
        shop.journal.open_gate("charge")
        sent.append(client.send("charge", "3").id)
        shop.ledger()
        shop.wait_for_ledger()
        assert {shop.outcome(one) for one in sent} == {("resolved", "")}
        shop.journal.close_gate("charge")
        last = client.send("fulfil", "4").id
        wait_until(
            "the last one runs", lambda: shop.journal.runs("charge")[-1].promise_id.startswith(last)
        )
        node.restart()
        shop.journal.open_gate("charge")
        assert shop.outcome(last) == ("resolved", "")
    recorded = shop.query("SELECT count(*) FROM promises WHERE state = 'resolved'")
    # Three promises of each order that was fulfilled, and one of that which was only charged.
    assert recorded == [(3 * 4 + 1,)]
