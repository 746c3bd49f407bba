"""Cron expressions: what is taken, what is refused naming its field, and when they tick."""

from __future__ import annotations

from datetime import UTC, datetime

import hypothesis.strategies as st
import pytest
from hypothesis import given

from resonate_amqp.errors import UsageError
from resonate_amqp.wire.cron import LONGEST, check_cron, next_tick


def at(year: int, month: int, day: int, *rest: int) -> int:
    hour, minute, second = (*rest, 0, 0, 0)[:3]
    when = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    return round(when.timestamp() * 1000)


@pytest.mark.parametrize(
    ("cron", "after", "tick"),
    [
        ("* * * * *", at(2026, 1, 1), at(2026, 1, 1, 0, 1)),
        ("* * * * *", at(2026, 1, 1) + 59_999, at(2026, 1, 1, 0, 1)),
        ("*/5 * * * * *", at(2026, 1, 1) + 5_000, at(2026, 1, 1, 0, 0, 10)),
        ("*/5 * * * * *", at(2026, 1, 1) + 4_999, at(2026, 1, 1, 0, 0, 5)),
        ("0 9 * * mon-fri", at(2026, 1, 2, 9), at(2026, 1, 5, 9)),
        ("0 0 29 2 *", at(2026, 1, 1), at(2028, 2, 29)),
        ("0 0 L * *", at(2026, 2, 1), at(2026, 2, 28)),
        ("0 12 * * 1#1", at(2026, 1, 1), at(2026, 1, 5, 12)),
        ("0 3 * * 0", at(2026, 1, 1), at(2026, 1, 4, 3)),
        ("30 2 * * *", at(2026, 3, 28, 12), at(2026, 3, 29, 2, 30)),
    ],
)
def test_the_next_tick_is_the_first_one_after_an_instant_in_utc(
    cron: str, after: int, tick: int
) -> None:
    assert next_tick(cron, after) == tick


@pytest.mark.parametrize(
    ("cron", "problem"),
    [
        ("", "wrong number of fields"),
        ("* * * *", "wrong number of fields"),
        ("@daily", "wrong number of fields"),
        ("1 2 3 4 5 6 7", "wrong number of fields"),
        ("60 * * * *", "bad minute"),
        ("60 * * * * *", "bad second"),
        ("* 24 * * *", "bad hour"),
        ("* * 0 * *", "bad day-of-month"),
        ("* * * 13 *", "bad month"),
        ("* * * * 8", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
        ("½ * * * *", "bad minute"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("0 0 1-9/L * *", "bad day-of-month"),
        ("*" * (LONGEST + 1), "is not an expression that is kept"),
    ],
)
def test_an_expression_that_cannot_be_is_refused_naming_its_field(cron: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        check_cron(cron)
    assert next_tick(cron, 0) is None


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(UsageError, match="is not an expression"):
        check_cron(5)


def test_spaces_make_no_difference() -> None:
    assert check_cron("  */5\t*  * * *\n") == "*/5 * * * *"


@pytest.mark.parametrize("after", [at(9999, 12, 31, 23, 59, 59), 10**17, 2**63, -(2**63)])
def test_there_is_no_tick_where_no_calendar_reaches(after: int) -> None:
    assert next_tick("0 0 1 1 *", after) is None


@given(
    fields=st.lists(st.text("0123456789*,-/LW#MONFRIJA", max_size=6), min_size=5, max_size=6),
    after=st.integers(0, 4 * 10**12),
)
def test_whatever_is_written_either_ticks_after_the_instant_or_is_refused(
    fields: list[str], after: int
) -> None:
    cron = " ".join(fields)
    try:
        check_cron(cron)
    except UsageError:
        return
    tick = next_tick(cron, after)
    assert tick is None or (tick > after and tick % 1_000 == 0)
