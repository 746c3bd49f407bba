"""Failpoints: every place is come to by some run, and what is asked for happens there."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Generator
from typing import Any

import pytest

from resonate_amqp import Context, Embedded, Resonate
from resonate_amqp.brokers.memory import MemoryBroker
from resonate_amqp.errors import UsageError
from resonate_amqp.ports import Broker, Disconnected, Failpoint, Opened
from resonate_amqp.resonate.failpoints import ArmedFailpoints, Fate, Mishap, armed
from resonate_amqp.resonate.machine import NoFailpoints

Workflow = Generator[Any, Any, Any]


class Visited:
    """Remembers where a run came to."""

    armed = True

    def __init__(self) -> None:
        self.places: Counter[Failpoint] = Counter()

    def reach(self, name: Failpoint) -> None:
        self.places[name] += 1


def hot(visited: Visited) -> None:
    """A workflow that waits in memory for a call to another group."""
    with Embedded(failpoints=visited) as system, Resonate(system=system, group="a") as a:
        a.register(lambda ctx: 1, name="leaf")

        @a.register
        def caller(ctx: Context) -> Workflow:
            return (yield ctx.rfc("leaf"))

        assert a.rpc("x", "caller").result(10) == 1


def parked(visited: Visited) -> None:
    """The same, suspended while it waits."""
    go_on = threading.Event()
    with (
        Embedded(failpoints=visited) as system,
        Resonate(system=system, group="a", park_after=0.01) as a,
    ):

        @a.register
        def leaf(ctx: Context) -> int:
            assert go_on.wait(10)
            return 1

        @a.register
        def caller(ctx: Context) -> Workflow:
            return (yield ctx.rfc("leaf"))

        handle = a.rpc("x", "caller")
        wait_for(visited, Failpoint.SUSPEND_ANSWERED)
        go_on.set()
        assert handle.result(10) == 1


def held(visited: Visited) -> None:
    """A leaf that outlives the time for which a delivery may be held."""
    go_on = threading.Event()
    with (
        Embedded(failpoints=visited) as system,
        Resonate(system=system, group="a", hold_max=0.05) as a,
    ):

        @a.register
        def leaf(ctx: Context) -> int:
            assert go_on.wait(10)
            return 1

        handle = a.rpc("x", "leaf")
        wait_for(visited, Failpoint.LEASE_ANSWERED)
        go_on.set()
        assert handle.result(10) == 1


def linked(visited: Visited) -> None:
    """A child with an id of its own, which is a tree of its own."""
    with Embedded(failpoints=visited) as system, Resonate(system=system, group="a") as a:
        a.register(lambda ctx: 1, name="leaf")

        @a.register
        def caller(ctx: Context) -> Workflow:
            return (yield ctx.rfc("leaf").options(id="y"))

        assert a.rpc("x", "caller").result(10) == 1


def wait_for(visited: Visited, place: Failpoint) -> None:
    for _ in range(1_000):
        if visited.places[place]:
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"{place} was not come to: {visited.places}")


RUNS: list[Callable[[Visited], None]] = [hot, parked, held, linked]


def test_every_place_is_come_to_by_some_run() -> None:
    visited = Visited()
    for run in RUNS:
        run(visited)
    assert set(visited.places) == set(Failpoint)


def test_a_mishap_is_read_as_it_is_written() -> None:
    assert Mishap.read("body.start=drop") == Mishap(Failpoint.BODY_START, Fate.DROP)
    third = Mishap(Failpoint.BATCH_COMMITTED, Fate.KILL, 3)
    assert Mishap.read("batch.committed@3=kill") == third
    assert Mishap.read(str(third)) == third


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("nowhere=kill", list(Failpoint)),
        ("body.start=explode", list(Fate)),
        ("body.start", ["NAME=FATE"]),
        ("body.start@0=kill", ["NAME=FATE"]),
        ("body.start@x=kill", ["NAME=FATE"]),
        ("=kill", ["NAME=FATE"]),
        ("", ["NAME=FATE"]),
    ],
)
def test_what_cannot_be_read_is_told_with_what_there_is(text: str, named: list[str]) -> None:
    with pytest.raises(UsageError) as raised:
        Mishap.read(text)
    assert all(name in str(raised.value) for name in named)


def test_a_drop_cuts_the_connection_the_time_it_was_asked_for_and_only_then() -> None:
    broker: Broker = MemoryBroker().connect()
    points = ArmedFailpoints([Mishap(Failpoint.BODY_START, Fate.DROP, 2)], broker)
    points.reach(Failpoint.BODY_START)
    points.reach(Failpoint.BODY_FULFILL)
    points.reach(Failpoint.BODY_FULFILL)
    assert broker.poll(0) == [Opened(1)]
    points.reach(Failpoint.BODY_START)
    assert not broker.connected()
    assert [type(event) for event in broker.poll(0)] == [Disconnected, Opened]
    points.reach(Failpoint.BODY_START)
    assert broker.connected()


def test_several_mishaps_may_be_asked_for_at_one_place() -> None:
    broker: Broker = MemoryBroker().connect()
    twice = [Mishap(Failpoint.BODY_START, Fate.DROP, time) for time in (1, 2)]
    points = ArmedFailpoints(twice, broker)
    for epoch in (2, 3):
        points.reach(Failpoint.BODY_START)
        assert broker.poll(0)[-1] == Opened(epoch)


def test_without_mishaps_there_is_nothing_to_count() -> None:
    assert isinstance(armed([], MemoryBroker().connect()), NoFailpoints)
