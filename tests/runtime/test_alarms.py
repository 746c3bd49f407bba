"""Alarms fire in the order of their instants, and a test skips only those that are routine."""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from resonate_amqp.runtime.alarms import Alarms

MADE = st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.booleans()))


@given(MADE, st.integers(0, 9))
def test_alarms_fire_in_order_whether_routine_or_not(
    made: list[tuple[int, bool, bool]], now: int
) -> None:
    alarms, fired = Alarms(), list[int]()
    for number, (at, routine, canceled) in enumerate(made):
        alarm = alarms.at(at, partial(fired.append, number), routine=routine)
        if canceled:
            alarm.cancel()
    left = [(at, number) for number, (at, _, canceled) in enumerate(made) if not canceled]
    needed = [at for at, routine, canceled in made if not (routine or canceled)]
    assert alarms.next_at() == min((at for at, _ in left), default=None)
    assert alarms.next_needed_at() == min(needed, default=None)
    alarms.fire_due(now)
    assert fired == [number for at, number in sorted(left) if at <= now]
