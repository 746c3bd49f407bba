"""The clock of a test: what a pending timer costs does not depend on how many there are."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

import pytest

from resonate_amqp import Context
from resonate_amqp.testing import System

FEW, MANY = 40, 200
FIRST_S = 600

Flow = Generator[Any, Any, Any]


class Calls:
    """Counts the function calls of threads that start while it is entered."""

    def __init__(self) -> None:
        self.made = 0

    def __enter__(self) -> Calls:
        threading.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        threading.setprofile(None)

    def _count(self, _frame: object, event: str, _given: object) -> None:
        if event in ("call", "c_call"):
            self.made += 1


def nap(ctx: Context, seconds: float) -> Flow:
    yield ctx.sleep(seconds)


def wake(ctx: Context) -> Flow:
    yield ctx.lfc(lambda _ctx: None)


def calls_of_each(sleeping: int, *, crash: bool = False) -> float:
    """How many function calls it takes to wake one of so many workflows."""
    with Calls() as calls, System() as system:
        resonate = system.resonate("sleepers", prefetch=MANY)
        resonate.register(nap)
        resonate.register(wake)
        if crash:
            system.crash_at("wake", when="after")
        handles = [
            resonate.rpc(f"nap-{number}", "nap", FIRST_S + number) for number in range(sleeping)
        ]
        system.advance(FIRST_S - 1)
        begun = calls.made
        system.advance(sleeping)
        cost = (calls.made - begun) / sleeping
        assert all(handle.done() for handle in handles)
        if crash:
            resonate.rpc("wake", "wake").result()
    return cost


@pytest.mark.parametrize("crash", [False, True], ids=["", "while a crash is asked for"])
def test_waking_one_of_many_workflows_costs_what_it_costs_to_wake_one_of_few(crash: bool) -> None:
    few, many = calls_of_each(FEW, crash=crash), calls_of_each(MANY, crash=crash)
    assert many < 1.25 * few
