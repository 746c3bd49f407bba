"""Durations as an operator reads them."""

from __future__ import annotations

import pytest

from resonate_amqp.operate.tree import lasting


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (-5, "0 s"),
        (999, "0 s"),
        (4_200, "4 s"),
        (60_000, "1 min"),
        (200_000, "3 min 20 s"),
        (3_600_000 + 59_000, "1 h 59 s"),
        (2 * 86_400_000 + 3_700_000, "2 d 1 h"),
    ],
)
def test_a_duration_is_told_in_its_two_largest_units(milliseconds: int, text: str) -> None:
    assert lasting(milliseconds) == text
