"""The timers of a ledger in memory: what a search through all of them would find."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from resonate_amqp.core.timers import Timer, TimerKind
from resonate_amqp.ledgers.timers import SortedTimers

OWNERS = st.sampled_from("abcd")
INSTANTS = st.integers(0, 20)
STEPS = st.lists(st.tuples(OWNERS, st.dictionaries(st.sampled_from(TimerKind), INSTANTS)))


@given(STEPS, INSTANTS, st.integers(0, 5))
def test_the_timers_that_are_due_first_are_those_that_a_search_finds(
    steps: list[tuple[str, dict[TimerKind, int]]], instant: int, limit: int
) -> None:
    timers = SortedTimers()
    known: dict[str, list[Timer]] = {}
    for owner, dues in steps:
        known[owner] = [Timer(at, kind, owner) for kind, at in dues.items()]
        timers.replace(owner, known[owner])
    everything = sorted(timer for of_one in known.values() for timer in of_one)
    assert timers.before(instant, limit) == [one for one in everything if one.at < instant][:limit]
    later = [one.at for one in everything if one.at > instant]
    assert timers.next_after(instant) == min(later, default=None)
