"""`resonate.claim`: how an integration runs what came by a queue of its own, over real threads."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from resonate_amqp import Context, Resonate
from resonate_amqp.core.model import PromiseState
from resonate_amqp.errors import Stopped
from resonate_amqp.resonate.embedded import Embedded
from resonate_amqp.runtime.branches import Aside
from resonate_amqp.runtime.claims import Begun, Claimed, Left, Settled
from resonate_amqp.runtime.executor import ThreadExecutor
from resonate_amqp.runtime.locally import LocalSteps
from resonate_amqp.runtime.outcomes import Postponed
from resonate_amqp.wire.codec import decode_call


@pytest.fixture
def resonate() -> Iterator[Resonate]:
    with Embedded() as system, Resonate(system=system, group="shop") as joined:
        yield joined


def claimed(resonate: Resonate, name: str, *args: Any, **options: Any) -> list[Claimed]:
    """What a claim is told, until it has ended."""
    told: queue.SimpleQueue[Claimed] = queue.SimpleQueue()
    resonate.claim("order-1", name, args, {}, told=told.put, **options)
    heard = [told.get(timeout=10)]
    if heard == [Begun()]:
        heard.append(told.get(timeout=10))
    return heard


def test_a_claim_is_told_the_result_and_anybody_else_may_read_it(resonate: Resonate) -> None:
    @resonate.register
    def double(ctx: Context, number: int) -> int:
        return 2 * number

    first, last = claimed(resonate, "double", 21)
    assert first == Begun()
    assert isinstance(last, Settled)
    assert last.promise.state is PromiseState.RESOLVED
    assert resonate.get("order-1").result() == 42


def test_a_claimant_may_run_plain_local_functions_itself(resonate: Resonate) -> None:
    asked: list[str] = []

    class Own(ThreadExecutor):
        def submit(self, work: Any, done: Any, *, is_async: bool) -> None:
            asked.append(work.__qualname__)
            super().submit(work, done, is_async=is_async)

    def double(_ctx: Context, number: int) -> int:
        return 2 * number

    async def halve(_ctx: Context, number: int) -> float:
        return number / 2

    @resonate.register
    def both(ctx: Context, number: int) -> Generator[Any, Any, Any]:
        doubled = yield ctx.lfc(double, number)
        return (yield ctx.lfc(halve, doubled))

    own = Own(1)
    claimed(resonate, "both", 21, steps=LocalSteps(own))
    own.close()
    assert resonate.get("order-1").result() == 21
    assert asked == ["double as order-1:1"]


def test_steps_of_an_async_body_may_run_in_a_thread_of_its_choice_between_calls(
    resonate: Resonate,
) -> None:
    threads: list[str] = []

    @resonate.register
    def charge(ctx: Context, amount: int) -> int:
        return amount

    @resonate.register
    async def order(ctx: Context, amount: int) -> int:
        total = 0
        for _ in range(3):
            total += await ctx.rfc(charge, amount)
            await aside(lambda: threads.append(threading.current_thread().name))
        return total

    async def aside(step: Any) -> Any:
        future: Aside = Aside(loop=asyncio.get_running_loop())

        def run() -> None:
            value = step()
            future.get_loop().call_soon_threadsafe(future.set_result, value)

        threading.Thread(target=run, name="lent").start()
        return await future

    _, last = claimed(resonate, "order", 5, patient=True)
    assert isinstance(last, Settled)
    assert resonate.get("order-1").result() == 15
    assert threads == ["lent"] * 3


def test_a_step_that_runs_in_another_thread_is_not_taken_for_a_wait(resonate: Resonate) -> None:
    """An impatient body is parked while it waits for others, never while it works."""
    go = threading.Event()
    ran: list[int] = []

    @resonate.register
    async def order(ctx: Context) -> str:
        await ctx.lfc(lambda ctx: 1)
        future: Aside = Aside(loop=asyncio.get_running_loop())

        def run() -> None:
            ran.append(1)
            go.wait(10)
            future.get_loop().call_soon_threadsafe(future.set_result, None)

        threading.Thread(target=run).start()
        await future
        return "done"

    told: queue.SimpleQueue[Claimed] = queue.SimpleQueue()
    resonate.claim("order-1", "order", (), {}, told=told.put, patient=False)
    assert told.get(timeout=10) == Begun()
    with pytest.raises(queue.Empty):
        told.get(timeout=0.3)
    go.set()
    assert isinstance(told.get(timeout=10), Settled)
    assert ran == [1]


def test_an_async_body_that_is_postponed_has_no_outcome(resonate: Resonate) -> None:
    @resonate.register
    async def order(ctx: Context) -> None:
        await ctx.lfc(lambda ctx: 1)
        raise Postponed(60)

    first, last = claimed(resonate, "order")
    assert first == Begun()
    assert isinstance(last, Left)
    assert resonate.promises.get("order-1").pending


def test_a_message_given_with_a_claim_is_recorded_beside_its_call(resonate: Resonate) -> None:
    @resonate.register
    def double(ctx: Context, number: int) -> int:
        return 2 * number

    claimed(resonate, "double", 21, message={"headers": {"task": "double"}})
    param = resonate.promises.get("order-1").param
    assert decode_call(param).args == [21]


def test_watch_tells_once_a_promise_is_settled(resonate: Resonate) -> None:
    told: queue.SimpleQueue[Claimed] = queue.SimpleQueue()
    resonate.promises.create("answer", timeout=60)
    resonate.watch("answer", told.put)
    with pytest.raises(queue.Empty):
        told.get(timeout=0.1)
    resonate.promises.resolve("answer", 1)
    assert isinstance(told.get(timeout=10), Settled)


def test_what_another_function_called_is_claimed_under_its_id_in_that_tree(
    resonate: Resonate,
) -> None:
    @resonate.register
    def double(ctx: Context, number: int) -> int:
        return 2 * number

    @resonate.register
    def order(ctx: Context, number: int) -> Generator[Any, Any, int]:
        called = ctx.rfc("double", number).options(target="poll://any@elsewhere")
        doubled: int = yield called
        return doubled + 1

    handle = resonate.rpc("order-1", order, 21)
    told: queue.SimpleQueue[Claimed] = queue.SimpleQueue()
    deadline = time.monotonic() + 10
    while len(resonate.tree("order-1")) < 2:
        assert time.monotonic() < deadline, "the call is not recorded"
    resonate.claim("order-1:1", "double", (21,), {}, told=told.put)
    assert told.get(timeout=10) == Begun()
    assert isinstance(told.get(timeout=10), Settled)
    assert handle.result(10) == 43


def test_a_claim_of_a_stopped_instance_says_so_and_blames_no_message(resonate: Resonate) -> None:
    resonate.register(lambda ctx: None, name="note")
    resonate.stop()
    with pytest.raises(Stopped, match="was stopped"):
        claimed(resonate, "note")
