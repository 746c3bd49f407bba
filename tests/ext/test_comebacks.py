"""Comebacks: which messages run again although their attempt is recorded."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from resonate_amqp.ext.comebacks import attempt_id, attempt_of, came_back
from resonate_amqp.ext.plain import flatten, rebuild

QUEUE = "orders"
AT = datetime(2026, 1, 2, 3, 4, 5)
LATER = datetime(2026, 1, 2, 3, 4, 6)


def died(queue: str, reason: str, count: int = 1, time: Any = AT) -> dict[str, Any]:
    return {"queue": queue, "reason": reason, "count": count, "time": time, "exchange": ""}


def headers(*deaths: Any) -> dict[str, Any]:
    return {"x-death": list(deaths)}


REJECTED = headers(died(QUEUE, "rejected"))
LOOP = headers(died("wait", "expired"), died(QUEUE, "rejected"))
LOOPS = headers(died("wait", "expired", 2), died(QUEUE, "rejected", 2))


@pytest.mark.parametrize(
    ("before", "now", "rejected", "wanted"),
    [
        ({}, {}, True, False),
        ({}, REJECTED, True, True),
        ({}, LOOP, True, True),
        (LOOP, LOOP, True, False),
        (LOOP, LOOPS, True, True),
        (REJECTED, headers(died(QUEUE, "rejected", 1, LATER)), True, True),
        ({}, headers(died(QUEUE, "expired")), True, True),
        ({}, {}, False, False),
        ({}, headers(died(QUEUE, "expired")), False, False),
        ({}, headers(died("wait", "expired"), died(QUEUE, "expired")), False, False),
        ({}, headers(died(QUEUE, "delivery_limit")), False, False),
        ({}, headers(died("wait", "expired")), False, True),
        (headers(died("wait", "expired")), headers(died("wait", "expired")), False, False),
        (headers(died("wait", "expired")), headers(died("wait", "expired", 2)), False, True),
        (headers(died("wait", "expired")), headers(died("wait", "expired", 1, LATER)), False, True),
    ],
)
def test_a_message_runs_again_when_it_passed_a_dead_letter_route_since_its_settlement(
    before: dict[str, Any], now: dict[str, Any], rejected: bool, wanted: bool
) -> None:
    """What its own queue dead-lettered after it was acknowledged was run to its end."""
    assert came_back(before, now, rejected=rejected, redelivered=True, queue=QUEUE) is wanted


def test_what_was_recorded_is_the_passage_that_came() -> None:
    recorded = rebuild(flatten(LOOPS))
    assert not came_back(recorded, LOOPS, rejected=True, redelivered=True, queue=QUEUE)
    zoned = headers(died("wait", "expired", 1, AT.replace(tzinfo=UTC)))
    assert not came_back(
        zoned, headers(died("wait", "expired")), rejected=True, redelivered=True, queue=QUEUE
    )


@pytest.mark.parametrize("deaths", [None, 5, "x", [5], [{}], {"count": 1}])
def test_what_is_no_list_of_passages_is_no_comeback_that_fails(deaths: Any) -> None:
    odd = {"x-death": deaths}
    assert came_back(odd, odd, rejected=True, redelivered=True, queue=QUEUE) is False
    assert attempt_of(odd, QUEUE) == 1


def test_the_attempt_is_one_more_than_the_rejections_behind_it() -> None:
    assert [attempt_of(one, QUEUE) for one in ({}, REJECTED, LOOP, LOOPS)] == [1, 2, 2, 3]
    assert [attempt_id("order-1", attempt) for attempt in (1, 2, 3)] == [
        "order-1",
        "order-1.attempt-2",
        "order-1.attempt-3",
    ]


def test_rejections_of_other_queues_are_no_attempts_of_this_one() -> None:
    assert attempt_of(REJECTED, "mails") == 1
    assert attempt_of(REJECTED, "") == 2


@pytest.mark.parametrize("rejected", [True, False])
def test_a_second_passage_within_one_second_is_a_comeback_since_nobody_had_it_before(
    rejected: bool,
) -> None:
    same = headers(died("wait", "expired"))
    assert came_back(same, same, rejected=rejected, redelivered=False, queue=QUEUE)
    assert not came_back(same, same, rejected=rejected, redelivered=True, queue=QUEUE)
    assert not came_back({}, {}, rejected=rejected, redelivered=False, queue=QUEUE)
