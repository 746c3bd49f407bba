"""Slots: when waiting bodies must make room, and how many of them."""

from __future__ import annotations

from collections.abc import Callable

from resonate_amqp.runtime.slots import PATIENCE_MS, Slots


class Clock:
    def __init__(self) -> None:
        self.at = 1_000

    def now(self) -> int:
        return self.at

    def monotonic(self) -> int:
        return self.at


def leaving(count: int) -> Callable[[], int]:
    return lambda: count


def under_pressure(total: int) -> tuple[Slots, Clock]:
    """Slots that have all been in use for as long as patience lasts."""
    clock = Clock()
    slots = Slots(total, clock)
    assert slots.to_free(total, leaving(0)) == 0
    clock.at += PATIENCE_MS
    return slots, clock


def test_nobody_makes_room_before_patience_ends() -> None:
    clock = Clock()
    slots = Slots(8, clock)
    assert slots.to_free(8, leaving(0)) == 0
    clock.at += PATIENCE_MS - 1
    assert slots.to_free(8, leaving(0)) == 0


def test_a_quarter_of_the_slots_is_made_free() -> None:
    slots, _ = under_pressure(8)
    assert slots.to_free(8, leaving(0)) == 2


def test_the_only_slot_is_made_free() -> None:
    slots, _ = under_pressure(1)
    assert slots.to_free(1, leaving(0)) == 1


def test_bodies_that_are_on_their_way_out_count_as_room() -> None:
    """Until the ledger has answered they hold their slots; nobody else need go for them."""
    slots, _ = under_pressure(8)
    assert slots.to_free(8, leaving(2)) == 0
    assert slots.to_free(8, leaving(1)) == 1


def test_pressure_ends_when_a_slot_stayed_free_as_long() -> None:
    slots, clock = under_pressure(8)
    assert slots.to_free(7, leaving(0)) == 1
    clock.at += PATIENCE_MS
    assert slots.to_free(7, leaving(0)) == 0
    assert slots.to_free(8, leaving(0)) == 0
