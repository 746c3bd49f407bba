"""Pauses of messages that are given back: how long, by how often, and for how many at once."""

from __future__ import annotations

import pytest

from resonate_amqp.ext.pauses import MOST, Pauses


def test_a_message_is_given_back_at_once_then_after_ever_longer_pauses() -> None:
    pauses = Pauses()
    assert [pauses.next("a") for _ in range(8)] == [0, 1, 2, 4, 8, 16, 30, 30]
    assert pauses.next("b") == 0


@pytest.mark.parametrize(
    ("returned", "pause"), [(-1, 0), (0, 0), (1, 1), (2, 2), (5, 16), (6, 30), (5_000, 30)]
)
def test_what_other_processes_gave_back_counts_where_the_queue_counts_it(
    returned: int, pause: float
) -> None:
    pauses = Pauses()
    assert pauses.next("a", returned) == pause
    assert pauses.next("a") == max(1, min(2 * pause, 30))


def test_a_message_that_was_settled_begins_anew() -> None:
    pauses = Pauses()
    for _ in range(3):
        pauses.next("a")
    pauses.forget("a")
    pauses.forget("unknown")
    assert pauses.next("a") == 0


def test_of_too_many_messages_the_oldest_begin_anew() -> None:
    pauses = Pauses()
    for number in range(MOST):
        pauses.next(str(number))
    assert pauses.next("0") == 1
    pauses.next("one more")
    assert pauses.next("1") == 0
    assert pauses.next("0") == 2
