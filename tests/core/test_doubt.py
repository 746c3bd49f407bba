"""A claim by a redelivered message: a TTL lease that may be a dead process's is put in doubt."""

from __future__ import annotations

from dataclasses import replace

from resonate_amqp.core.leases import DOUBT_MS
from resonate_amqp.core.model import TaskState
from resonate_amqp.core.timers import TimerKind
from tests.core.world import NOW, World, acquire, call, created, heartbeat

LONG = 60_000
LATE = 1_000_000


def claimed() -> World:
    """A world in which h1 holds task r at version 1 under a TTL lease of a minute."""
    world = World()
    world.run(created(call("r", LATE), "h1", LONG))
    return world


def test_a_redelivered_claim_cuts_the_lease_to_what_a_living_holder_needs_to_refresh_it() -> None:
    world = claimed()
    answer = world.ask(replace(created(call("r", LATE), "h2", LONG), redelivered=True))
    task = world.task("r")
    assert (answer.status, task.version, task.holder) == (409, 1, "h1")
    assert (task.ttl, task.expires_at) == (DOUBT_MS, NOW + DOUBT_MS)


def test_a_first_delivery_casts_no_doubt() -> None:
    world = claimed()
    before = world.task("r")
    assert world.ask(created(call("r", LATE), "h2", LONG)).status == 409
    assert world.task("r") == before


def test_doubt_repeated_brings_the_end_no_nearer_than_the_first() -> None:
    world = claimed()
    doubt = replace(created(call("r", LATE), "h2", LONG), redelivered=True)
    world.ask(doubt)
    first = world.task("r")
    world.ask(doubt)
    assert world.task("r") == first


def test_a_holder_who_refreshes_keeps_a_doubted_lease() -> None:
    world = claimed()
    world.ask(replace(created(call("r", LATE), "h2", LONG), redelivered=True))
    world.now = NOW + DOUBT_MS - 1
    world.run(heartbeat("r"))
    assert world.task("r").expires_at == world.now + DOUBT_MS


def test_a_doubted_lease_that_nobody_refreshed_ends_and_the_next_claim_has_it() -> None:
    world = claimed()
    doubt = replace(created(call("r", LATE), "h2", LONG), redelivered=True)
    world.ask(doubt)
    world.now = NOW + DOUBT_MS
    world.fire(TimerKind.LEASE, "r")
    assert world.task("r").state is TaskState.PENDING
    answer = world.ask(doubt)
    assert (answer.status, world.task("r").holder) == (200, "h2")


def test_a_delivery_lease_is_never_doubted() -> None:
    world = World()
    world.run(call("r", LATE), acquire("r", ttl=LONG))
    before = world.task("r")
    assert world.ask(replace(created(call("r", LATE), "h2", LONG), redelivered=True)).status == 409
    assert world.task("r") == before
