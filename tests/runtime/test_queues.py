"""Where a worker's tasks come from when somebody else decides which queues there are."""

from __future__ import annotations

import logging

import pytest

from resonate_amqp.wire.address import any_queue
from resonate_amqp.wire.topology import target_queue
from tests.runtime.workshop import GROUP, Workshop

OWN = f"resonate.uni.{GROUP}.p1"


def test_a_worker_on_a_given_topology_makes_no_queue_and_waits_for_its_group_s(
    caplog: pytest.LogCaptureFixture,
) -> None:
    workshop = Workshop(topology="passive")
    broker = workshop.office.broker
    workshop.hire("p1")
    workshop.pass_time(61_000)
    assert {any_queue(GROUP), OWN}.isdisjoint(broker.queues())
    told = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    line = f"the broker refuses {any_queue(GROUP)}: it does not exist"
    assert [one for one in told if any_queue(GROUP) in one] == [line, line]
    assert len([one for one in told if OWN in one]) == 1

    broker.connect().declare(target_queue(f"poll://any@{GROUP}", "classic"))
    workshop.call("quick", 1)
    workshop.pass_time(6_000)
    assert workshop.result() == 2
    assert OWN not in broker.queues()


def test_a_worker_makes_its_queues_unless_it_is_told_not_to() -> None:
    workshop = Workshop()
    workshop.hire("p1")
    workshop.rest()
    assert {any_queue(GROUP), OWN} <= set(workshop.office.broker.queues())
