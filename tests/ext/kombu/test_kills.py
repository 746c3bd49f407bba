"""Consumers, brokers and ledgers die between an effect and its acknowledgement."""

from __future__ import annotations

import time

import pytest

from resonate_amqp.dev.broker import PrivateBroker
from resonate_amqp.wire.address import DEAD_QUEUE, any_queue
from tests.ext.kombu.processes import GROUP, QUEUE, ShopSystem
from tests.scenarios.system import wait_until

pytestmark = pytest.mark.processes

KINDS: dict[str, dict[str, str]] = {"classic": {}, "quorum": {"x-queue-type": "quorum"}}
DOWN_S = 8.0
"""How long the ledger is away; longer shows nothing else."""


def test_what_a_killed_consumer_had_recorded_is_not_run_again(processes: ShopSystem) -> None:
    """It dies in the place of its acknowledgement; the redelivery is answered from the ledger."""
    shop = processes
    shop.ledger()
    for kind, arguments in KINDS.items():
        shop.queue(kind, **arguments)
        shop.publish(f"{kind}-1", queue=kind)
    dying = [shop.consumer("plain", kind, dies="ack") for kind in KINDS]
    wait_until("both are dead", lambda: not any(one.running for one in dying))
    for kind in KINDS:
        shop.wait_for_consumers_of(0, kind)
        assert shop.ready(kind) == 1
        shop.consumer("plain", kind)
    for kind in KINDS:
        assert shop.outcome(f"{kind}-1") == f"done {kind}-1"
        shop.publish(f"{kind}-2", queue=kind)
        shop.outcome(f"{kind}-2")
    shop.wait_for_empty(*KINDS)
    assert shop.journal.counts() == {"plain": 4}
    shop.end()


def test_work_of_a_killed_consumer_is_taken_over_in_seconds_and_ends_once(
    processes: ShopSystem,
) -> None:
    shop = processes
    shop.ledger()
    for gate in ("plain", "charge"):
        shop.journal.close_gate(gate)
    dying = []
    for callback in ("plain", "flow"):
        shop.queue(callback)
        shop.publish(f"order-{callback}", queue=callback)
        dying.append(shop.consumer(callback, callback))
    for gate in ("plain", "charge"):
        shop.wait_for_run(gate)
    killed_at = max(one.kill() for one in dying)
    for callback in ("plain", "flow"):
        shop.consumer(callback, callback)
    for gate in ("plain", "charge"):
        shop.wait_for_run(gate, 2)
        assert shop.journal.runs(gate)[1].at - killed_at < 15
        shop.journal.open_gate(gate)
    assert shop.outcome("order-plain") == "done order-plain"
    assert shop.outcome("order-flow") == "charged order-flow"
    shop.wait_for_empty("plain", "flow")
    assert shop.journal.counts() == {"plain": 2, "charge": 2, "mail": 1}
    shop.end()


def test_a_broker_killed_between_effect_and_acknowledgement_makes_nothing_run_twice(
    breakable: ShopSystem, node: PrivateBroker
) -> None:
    shop = breakable
    shop.journal.close_gate("plain")
    # RabbitMQ 3.10 loses a quorum queue that was declared within half a second of a kill -9.
    shop.queue(any_queue(GROUP), **KINDS["quorum"])
    for kind, arguments in KINDS.items():
        shop.queue(kind, **arguments)
    shop.ledger()
    for kind in KINDS:
        shop.consumer("plain", kind)
        shop.publish(f"{kind}-1", queue=kind)
    shop.wait_for_run("plain", 2)
    node.kill()
    shop.journal.open_gate("plain")
    node.start()
    for kind in KINDS:
        assert shop.outcome(f"{kind}-1", 60) == f"done {kind}-1"
    # The message comes again before a later one, and is answered.
    for kind in KINDS:
        shop.wait_for_consumers_of(1, kind)
        shop.publish(f"{kind}-2", queue=kind)
        shop.outcome(f"{kind}-2")
    shop.wait_for_empty(*KINDS)
    assert shop.journal.counts() == {"plain": 4}
    shop.end()


def test_two_producers_with_one_id_cause_one_execution_and_other_bodies_are_put_aside(
    processes: ShopSystem,
) -> None:
    shop = processes
    shop.journal.close_gate("charge")
    shop.queue()
    shop.ledger()
    shop.consumer("flow")
    shop.consumer("flow")
    shop.wait_for_consumers_of(2)
    shop.publish("order-1", "order-1")
    shop.wait_for_run("charge")
    wait_until("both are taken", lambda: shop.ready() == 0)
    shop.publish("order-1", price=5)
    wait_until("it is taken", lambda: shop.ready() == 0)
    shop.journal.open_gate("charge")
    assert shop.outcome("order-1") == "charged order-1"
    wait_until("the third is put aside", lambda: shop.ready(DEAD_QUEUE) == 1)
    assert shop.journal.counts() == {"charge": 1, "mail": 1}
    (dead,) = shop.dead()
    assert "is taken by a message with other content" in dead["reason"]
    assert dead["queue"] == f"queue '{QUEUE}'"
    assert '"price": 5' in dead["body"]
    shop.wait_for_empty()
    shop.end()


def test_a_ledger_that_is_down_loses_nothing_and_stops_nothing_for_good(
    processes: ShopSystem,
) -> None:
    shop = processes
    orders = [f"order-{number}" for number in range(30)]
    shop.queue()
    ledger = shop.ledger()
    consumer = shop.consumer("plain")
    shop.publish("before")
    shop.outcome("before")
    ledger.kill()
    shop.publish(*orders)
    wait_until("the prefetch is full", lambda: shop.ready() == 20)
    until = time.monotonic() + DOWN_S
    wait_until("it lasts", lambda: time.monotonic() > until)
    assert shop.ready() == 20
    assert consumer.running
    assert shop.journal.counts() == {"plain": 1}
    shop.ledger()
    assert [shop.outcome(order) for order in orders] == [f"done {order}" for order in orders]
    shop.wait_for_empty()
    assert shop.journal.counts() == {"plain": 31}
    shop.end()
