"""Replay over a corpus of bodies: replaying changes nothing, and settling anything extends."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resonate_amqp.core.model import Promise
from resonate_amqp.runtime.context import Context
from tests.runtime.bodies import Run

Body = Generator[Any, Any, Any]


def _leaf(_ctx: Context, n: int) -> int:
    return n


def _at(command: Any) -> Any:
    return command.options(target="elsewhere")


def all_local(ctx: Context) -> Body:
    return (yield ctx.lfc(_leaf, 1)) + (yield ctx.lfc(_leaf, 2))


def rpc_chain(ctx: Context) -> Body:
    return [(yield _at(ctx.rfc("a"))), (yield _at(ctx.rfc("b"))), (yield _at(ctx.rfc("c")))]


def fan_out(ctx: Context) -> Body:
    started = []
    for n in range(4):
        started.append((yield _at(ctx.rfi("a", n))))
    results = []
    for one in started:
        results.append((yield one))
    return results


def sleep_then_rpc(ctx: Context) -> Body:
    yield ctx.sleep(1)
    return (yield _at(ctx.rfc("a")))


def person(ctx: Context) -> Body:
    asked = yield ctx.promise()
    return (yield asked)


def parallel_locals(ctx: Context) -> Body:
    one = yield ctx.lfi(rpc_chain)
    other = yield ctx.lfi(sleep_then_rpc)
    return [(yield other), (yield one)]


def deep_local(ctx: Context) -> Body:
    return (yield ctx.lfc(parallel_locals))


def detached_then_rpc(ctx: Context) -> Body:
    yield _at(ctx.detached("x"))
    ctx.rfi("forgotten").options(target="elsewhere")
    return (yield _at(ctx.rfc("a")))


def phased(ctx: Context) -> Body:
    for phase in range(2):
        started = []
        for n in range(2):
            started.append((yield _at(ctx.rfi(f"p{phase}", n))))
        results = []
        for one in started:
            results.append((yield one))
    return "done"


def unawaited(ctx: Context) -> Body:
    yield _at(ctx.rfi("a"))
    yield ctx.lfi(rpc_chain)
    return 1


CORPUS: list[Callable[..., Any]] = [
    all_local,
    rpc_chain,
    fan_out,
    sleep_then_rpc,
    person,
    parallel_locals,
    deep_local,
    detached_then_rpc,
    phased,
    unawaited,
]


@pytest.mark.parametrize("body", CORPUS)
def test_a_replay_without_news_records_nothing_new(body: Callable[..., Any]) -> None:
    run = Run(body).replay()
    created, leaves, recorded = list(run.created), list(run.leaves), dict(run.recorded)
    run.replay()
    assert run.created == created
    assert run.leaves == leaves
    assert run.recorded == recorded


@pytest.mark.parametrize("body", CORPUS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_settling_in_any_order_with_replays_between_ends_as_without(
    body: Callable[..., Any], data: st.DataObject
) -> None:
    straight = _to_the_end(Run(body).replay(), lambda waiting: waiting[0], lambda: False)
    any_order = _to_the_end(
        Run(body).replay(),
        lambda waiting: data.draw(st.sampled_from(waiting)),
        lambda: data.draw(st.booleans()),
    )
    assert any_order.finished == straight.finished
    assert _settled(any_order) == _settled(straight)
    assert sorted(any_order.leaves) == sorted(straight.leaves)


def _to_the_end(run: Run, choose: Callable[[list[str]], str], crash: Callable[[], bool]) -> Run:
    """Settle what the body waits for, one by one, replaying from the top where told to."""
    for _ in range(60):
        if run.ended():
            return run
        waiting = sorted(run.driver.waits_for())
        assert waiting, "a body that is not finished waits for something"
        chosen = choose(waiting)
        run.settle(chosen, f"value of {chosen}")
        if not run.ended() and crash():
            run.replay()
    raise AssertionError("the body did not end")


def _settled(run: Run) -> dict[str, Promise]:
    return {one.id: one for one in run.recorded.values() if not one.pending}
