"""Whatever is lost, doubled, delayed, cut or killed: the call ends, and ends right."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Any

import pytest

from resonate_amqp.core.model import PromiseState
from resonate_amqp.runtime.context import Context
from resonate_amqp.runtime.registry import Registry
from tests.simulation.stage import Stage

Body = Generator[Any, Any, Any]

SEEDS = 300
BLOCKS = 10
RESULT = {"fib": 5, "fan": 6, "double": 22}


def _count(ctx: Context) -> None:
    ctx.get_dependency("ran")[ctx.id] += 1


def fib(ctx: Context, n: int) -> Body:
    if n < 2:
        return n
    first = yield ctx.rfi("fib", n - 1)
    second = yield ctx.rfc("fib", n - 2)
    return (yield first) + second


def square(ctx: Context, n: int) -> int:
    _count(ctx)
    return n * n


def double(ctx: Context, n: int) -> int:
    _count(ctx)
    return 2 * n


def fan(ctx: Context, width: int) -> Body:
    started = []
    for n in range(width):
        started.append((yield ctx.rfi("square", n)))
    yield ctx.sleep(0.3)
    total = 0
    for one in started:
        total += yield one
    return (yield ctx.lfc(double, total)) - 4


def story(ctx: Context) -> Body:
    numbers = yield ctx.rfi("fib", 5)
    squares = yield ctx.rfc("fan", 3)
    doubled = yield ctx.lfc("double", 11)
    return {"fib": (yield numbers), "fan": squares, "double": doubled}


def registry() -> Registry:
    made = Registry()
    for func in (fib, square, double, fan, story):
        made.register(func)
    return made


def played(seed: int, *, rough: bool) -> Stage:
    stage = Stage(seed, registry(), rough=rough)
    stage.call("story")
    try:
        assert stage.play() == RESULT
        stage.check_nothing_left()
    except Exception as error:
        raise AssertionError(f"seed {seed}, round {stage.rounds}: {error}") from error
    return stage


def test_on_a_good_day_every_step_runs_once() -> None:
    for seed in range(10):
        stage = played(seed, rough=False)
        assert len(stage.ran) == 5
        assert set(stage.ran.values()) == {1}


def test_on_a_good_day_no_time_is_lost() -> None:
    """One durable sleep of 0.3 s, and nothing else that waits for a repetition or a timer."""
    stage = Stage(1, registry(), rough=False)
    stage.call("story")
    stage.play()
    assert stage.clock.passed < 1_500


@pytest.mark.parametrize("block", range(BLOCKS))
def test_whatever_goes_wrong_the_result_is_right(block: int) -> None:
    """On failure the message names the seed: `played(SEED, rough=True)` shows it again."""
    for seed in range(block * SEEDS // BLOCKS, (block + 1) * SEEDS // BLOCKS):
        stage = played(seed, rough=True)
        settled = [p for p in stage.ledger.promises.values() if not p.pending]
        assert all(p.state is PromiseState.RESOLVED for p in settled), f"seed {seed}"
        assert min(stage.ran.values()) >= 1, f"seed {seed}"
        assert len(stage.ran) == 5, f"seed {seed}"


def test_a_function_nobody_has_is_offered_ever_later_and_found_when_somebody_has_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    known = Registry()
    stage = Stage(1, known, rough=False)
    stage.call("story")
    with caplog.at_level(logging.ERROR):
        stage.live(600_000)
    waits = [int(record.getMessage().split()[-2]) for record in caplog.records]
    assert 5 < len(waits) < 30
    assert waits == sorted(waits)
    assert "function 'story' version 1 is not registered" in caplog.records[0].getMessage()
    for func in (fib, square, double, fan, story):
        known.register(func)
    assert stage.play() == RESULT
    assert stage.clock.passed < 700_000


def test_the_same_seed_is_the_same_story() -> None:
    assert played(3, rough=True).story == played(3, rough=True).story
    assert played(3, rough=True).story != played(4, rough=True).story
