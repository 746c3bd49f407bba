"""What brokers and their operators impose: heartbeats, ack timeouts, alarms, rights, deletions."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import pytest

from resonate_amqp import Resonate
from resonate_amqp.dev.broker import PrivateBroker
from resonate_amqp.errors import BrokerError, LedgerError
from resonate_amqp.wire.address import any_queue
from tests.ext.kombu.conftest import ACK_TIMEOUT_S
from tests.ext.kombu.processes import GROUP, ShopSystem
from tests.scenarios.system import Process, wait_until

pytestmark = pytest.mark.processes

USER = """
ok = rabbit_auth_backend_internal:add_user(<<"{0}">>, <<"secret">>, <<"test">>),
ok = rabbit_auth_backend_internal:set_permissions(
  <<"{0}">>, <<"{1}">>, <<"{2}">>, <<"{3}">>, <<"{4}">>, <<"test">>)
"""
LOST = "Connection to broker lost"
"""What Kombu says when it connects again."""


def logged(process: Process) -> str:
    return process.log.read_text(encoding="utf-8")


def test_a_callback_that_costs_the_connection_its_heartbeat_runs_once(
    processes: ShopSystem,
) -> None:
    """The connection is lost meanwhile, and the redelivery is answered from the ledger."""
    shop = processes
    shop.queue()
    shop.ledger()
    consumer = shop.consumer("plain", heartbeat=1)
    shop.publish("order-1", lasts=4)
    assert shop.outcome("order-1") == "done order-1"
    wait_until("the connection was lost", lambda: LOST in logged(consumer))
    shop.publish("order-2")
    shop.outcome("order-2")
    shop.wait_for_empty()
    assert shop.journal.counts() == {"plain": 2}
    shop.end()


def test_work_that_outlasts_the_ack_timeout_runs_once_and_workflows_never_meet_it(
    breakable: ShopSystem,
) -> None:
    shop = breakable
    shop.ledger()
    shop.journal.close_gate("charge")
    for callback in ("plain", "flow"):
        shop.queue(callback)
    plain = shop.consumer("plain", "plain")
    flow = shop.consumer("flow", "flow", hold_max=1)
    shop.publish("order-1", queue="plain", lasts=2 * ACK_TIMEOUT_S)
    shop.publish("order-2", queue="flow")
    assert shop.outcome("order-1") == "done order-1"
    wait_until("the broker has closed a channel", lambda: "timed out" in logged(plain))
    shop.journal.open_gate("charge")
    assert shop.outcome("order-2") == "charged order-2"
    shop.publish("order-3", queue="plain")
    shop.outcome("order-3")
    shop.wait_for_empty("plain", "flow")
    assert LOST not in logged(flow)
    assert shop.journal.counts() == {"plain": 2, "charge": 1, "mail": 1}
    shop.end()


def test_a_memory_alarm_delays_the_record_and_loses_nothing(
    breakable: ShopSystem, node: PrivateBroker
) -> None:
    """Acknowledgements alone go through under an alarm; that they do is shown without processes."""
    shop = breakable
    shop.journal.close_gate("plain")
    shop.queue()
    shop.ledger()
    shop.consumer("plain")
    shop.publish("order-1")
    shop.wait_for_run("plain")
    outside = Resonate(shop.url, group="outside", request_timeout=1.5)
    # What has published before is blocked; a new connection would learn of it by publishing.
    assert outside.promises.create("before").pending
    node.control("set_vm_memory_high_watermark", "0")
    try:
        began = time.monotonic()
        with pytest.raises((BrokerError, LedgerError)):
            outside.options(target="poll://any@shop").rpc("blocked", "plain", {})
        assert time.monotonic() - began < 5
        shop.journal.open_gate("plain")
        assert [state for _, state in shop.executions("order-1")] == ["pending"]
    finally:
        node.control("set_vm_memory_high_watermark", "0.4")
    assert shop.outcome("order-1") == "done order-1"
    outside.promises.resolve("before")
    outside.stop()
    shop.wait_for_empty()
    assert shop.journal.counts() == {"plain": 1}


def test_a_queue_deleted_while_it_is_consumed_is_reported_and_consumed_when_it_is_back(
    processes: ShopSystem,
) -> None:
    shop = processes
    shop.journal.close_gate("charge")
    shop.queue()
    shop.ledger()
    consumer = shop.consumer("flow")
    shop.publish("order-1")
    shop.wait_for_run("charge")
    shop.delete()
    wait_until("it is reported", lambda: "NOT_FOUND" in logged(consumer))
    shop.journal.open_gate("charge")
    assert shop.outcome("order-1") == "charged order-1"
    shop.queue()
    shop.publish("order-2")
    assert shop.outcome("order-2") == "charged order-2"
    shop.wait_for_empty()
    assert shop.journal.counts() == {"charge": 2, "mail": 2}
    shop.end()


def test_a_user_who_may_declare_nothing_consumes(
    breakable: ShopSystem, node: PrivateBroker
) -> None:
    """Our own objects are there; a process declares its reply queue alone, by a user of its own."""
    shop = breakable
    parts = urlsplit(shop.url)
    rights = {
        "consumer": ("^$", "^$", "^orders$"),
        "durable": ("^resonate[.]reply[.]", "^resonate[.]", "^resonate[.]"),
    }
    made = [USER.format(user, parts.path[1:], *each) for user, each in rights.items()]
    node.control("eval", ", ".join(made) + ".")
    shop.queue()
    shop.queue(any_queue(GROUP), **{"x-queue-type": "quorum"})
    shop.ledger()
    shop.wait_for_ledger()
    urls = {
        user: f"amqp://{user}:secret@{parts.hostname}:{parts.port}{parts.path}" for user in rights
    }
    consumer = shop.consumer("plain", url=urls["consumer"], own=urls["durable"])
    shop.publish("order-1")
    assert shop.outcome("order-1") == "done order-1"
    shop.wait_for_consumers(GROUP, 1)
    shop.wait_for_empty()
    assert "ACCESS_REFUSED" not in logged(consumer)
    shop.end()
