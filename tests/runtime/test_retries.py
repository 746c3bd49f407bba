"""Retries of a leaf: when each attempt is made, and when none is made any more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from resonate_amqp import (
    Canceled,
    Constant,
    Context,
    Exponential,
    Linear,
    Never,
    Resonate,
)
from resonate_amqp.runtime.retry import RetryPolicy, retries_after
from resonate_amqp.testing import System

DAY_MS = 86_400_000
Attempt = Callable[[Context], None]
Leaf = Callable[[Context], Any]


def plain(attempt: Attempt) -> Leaf:
    def flaky(ctx: Context) -> None:
        attempt(ctx)

    return flaky


def coroutine(attempt: Attempt) -> Leaf:
    async def flaky(ctx: Context) -> None:
        attempt(ctx)

    return flaky


@pytest.fixture(params=[plain, coroutine])
def leaf_of(request: pytest.FixtureRequest) -> Callable[[Attempt], Leaf]:
    kind: Callable[[Attempt], Leaf] = request.param
    return kind


class Flaky:
    """A leaf whose attempts fail, and the seconds after the start at which each was made."""

    def __init__(self, resonate: Resonate, system: System) -> None:
        self.made: list[float] = []
        self._resonate = resonate
        self._system = system
        self._began = system.now

    def register(self, policy: RetryPolicy, leaf_of: Callable[[Attempt], Leaf] = plain) -> None:
        self._resonate.register(leaf_of(self._fail), retry_policy=policy)

    def _fail(self, ctx: Context) -> None:
        self.made.append((self._system.now - self._began).total_seconds())
        assert ctx.info.attempt == len(self.made)
        raise ConnectionError("again")


@pytest.fixture
def flaky(resonate: Resonate, resonate_system: System) -> Flaky:
    return Flaky(resonate, resonate_system)


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (Constant(delay=3), [3, 3, 3, 3]),
        (Linear(delay=3), [3, 6, 9, 12]),
        (Linear(), [1, 2, 3, 4]),
        (Exponential(), [2, 4, 8, 16, 30, 30]),
        (Exponential(delay=0.5, factor=3, max_delay=10), [1.5, 4.5, 10, 10]),
        (Constant(delay=3, max_retries=2), [3, 3, None]),
        (Linear(delay=1, max_retries=1), [1, None]),
        (Exponential(delay=1, max_retries=3), [2, 4, 8, None]),
        (Never(), [None]),
    ],
    ids=str,
)
def test_a_policy_says_how_long_to_wait_after_each_failed_attempt(
    policy: RetryPolicy, delays: list[float | None]
) -> None:
    told = [retries_after(policy, number, DAY_MS) for number in range(1, len(delays) + 1)]
    assert told == [delay if delay is None else delay * 1000 for delay in delays]


def test_a_delay_beyond_every_number_is_the_longest_one() -> None:
    assert retries_after(Exponential(max_delay=60), 5_000, DAY_MS) == 60_000


@pytest.mark.parametrize(("left_ms", "delay_ms"), [(3_001, 3_000), (3_000, None), (2_999, None)])
def test_an_attempt_must_begin_before_the_deadline(left_ms: int, delay_ms: int | None) -> None:
    assert retries_after(Constant(delay=3), 1, left_ms) == delay_ms


@pytest.mark.parametrize(
    ("policy", "instants"),
    [
        (Constant(delay=10, max_retries=3), [0, 10, 20, 30]),
        (Linear(delay=10, max_retries=3), [0, 10, 30, 60]),
        (Exponential(delay=10, max_retries=3), [0, 20, 50, 80]),
    ],
    ids=str,
)
def test_the_attempts_are_made_when_the_policy_says_so(
    flaky: Flaky,
    resonate: Resonate,
    resonate_system: System,
    policy: RetryPolicy,
    instants: list[float],
) -> None:
    flaky.register(policy)
    handle = resonate.rpc("r", "flaky")
    resonate_system.advance(timedelta(minutes=10))
    assert flaky.made == instants
    with pytest.raises(ConnectionError, match="again"):
        handle.result()


def test_no_attempt_is_made_past_the_deadline_and_the_error_is_told_before_it(
    flaky: Flaky, resonate: Resonate, resonate_system: System
) -> None:
    flaky.register(Constant(delay=10))
    handle = resonate.options(timeout=25).rpc("r", "flaky")
    resonate_system.advance(20)
    assert flaky.made == [0, 10, 20]
    with pytest.raises(ConnectionError, match="again"):
        handle.result()
    resonate_system.advance(60)
    assert flaky.made == [0, 10, 20]


def test_a_leaf_that_waits_for_its_retry_does_not_run_again_once_its_body_was_dropped(
    flaky: Flaky,
    resonate: Resonate,
    resonate_system: System,
    leaf_of: Callable[[Attempt], Leaf],
) -> None:
    """Its promise was canceled, which the worker learns with the next refresh of its lease."""
    flaky.register(Constant(delay=600), leaf_of)
    handle = resonate.rpc("r", "flaky")
    resonate_system.advance(1)
    resonate.promises.cancel("r")
    resonate_system.advance(timedelta(hours=1))
    assert flaky.made == [0]
    with pytest.raises(Canceled):
        handle.result()
