"""What a killed process of a Celery worker costs: never a second outcome."""

from __future__ import annotations

import time

import pytest

from tests.ext.celery.system import Shop, result
from tests.scenarios.journal import Run
from tests.scenarios.system import wait_until

pytestmark = [pytest.mark.rabbitmq, pytest.mark.processes]

TAKEN_OVER_S = 14.0
"""Celery notices within 5 s that a process is gone, and a lease that was cast doubt on ends after
6 s; the rest is for slow machines."""


def test_a_task_killed_after_its_outcome_was_recorded_returns_it_without_running_again(
    own_shop: Shop,
) -> None:
    worker = own_shop.celery()
    own_shop.journal.close_gate("sure-recorded")
    with own_shop.client() as client:
        sent = client.send("sure", "1")
        assert own_shop.outcome(sent.id) == ("resolved", "")
        own_shop.kill_child(worker)
        own_shop.journal.open_gate("sure-recorded")
        assert result(sent) == "sure of 1"
    assert len(own_shop.journal.runs("sure")) == 1


def test_a_killed_process_or_worker_is_replaced_in_seconds_and_finished_steps_are_kept(
    own_shop: Shop,
) -> None:
    worker = own_shop.celery()
    with own_shop.client() as client:
        own_shop.journal.close_gate("bill-end")
        sent = client.send("careful", "2")
        (begun,) = _begun(own_shop, "bill-end", 1)
        killed_at = time.monotonic()
        own_shop.kill_child(worker)
        (_, again) = _begun(own_shop, "bill-end", 2)
        assert again.pid != begun.pid
        assert again.at - killed_at < TAKEN_OVER_S
        killed_at = worker.kill()
        own_shop.celery()
        own_shop.journal.open_gate("bill-end")
        assert result(sent) == "charged 2, carefully"
        (*_, last) = own_shop.journal.runs("bill-end")
        assert last.at - killed_at < TAKEN_OVER_S
    assert len(own_shop.journal.runs("charge")) == 1
    # A warm shutdown leaves nothing undone and nothing unread.
    own_shop.end()


def _begun(shop: Shop, name: str, count: int) -> list[Run]:
    wait_until(f"{name} begins {count} times", lambda: len(shop.journal.runs(name)) >= count)
    return shop.journal.runs(name)
