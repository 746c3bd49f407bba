"""`ctx.gather`, recorded randomness and compensations, in generators and in coroutines."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Generator
from typing import Any

import pytest

from resonate_amqp.core.model import PromiseState
from resonate_amqp.errors import NotDurable, UsageError
from resonate_amqp.runtime.context import Context, Info
from tests.runtime.bodies import Run
from tests.runtime.strands import AsyncRun

Body = Generator[Any, Any, Any]


def far(ctx: Context, name: str, *args: Any) -> Any:
    return ctx.rfc(name, *args).options(target="elsewhere")


def leaf(_ctx: Context, value: Any = None) -> Any:
    return value


def test_a_gather_starts_everything_and_answers_in_order() -> None:
    def body(ctx: Context) -> Body:
        started = yield ctx.rfi("a").options(target="elsewhere")
        return (yield ctx.gather(far(ctx, "b"), started, ctx.lfc(leaf, 3), ctx.sleep(1)))

    run = Run(body).replay()
    assert run.created == ["r:1", "r:2", "r:4", "r:3"]
    assert run.driver.waits_for() == {"r:1", "r:2", "r:4"}
    run.settle("r:4")
    run.settle("r:2", "b")
    assert not run.ended()
    assert run.settle("r:1", "a").result == ["b", "a", 3, None]


def test_a_gather_of_what_is_recorded_asks_for_nothing() -> None:
    def body(ctx: Context) -> Body:
        return (yield ctx.gather(far(ctx, "a"), far(ctx, "b")))

    run = Run(body).replay()
    run.settle("r:1", 1)
    run.settle("r:2", 2)
    created = list(run.created)
    assert run.replay().result == [1, 2]
    assert run.created == created


def test_the_first_failure_in_order_is_raised_when_all_have_settled() -> None:
    def body(ctx: Context) -> Body:
        try:
            yield ctx.gather(far(ctx, "a"), far(ctx, "b"), far(ctx, "c"))
        except ValueError as error:
            return str(error)

    run = Run(body).replay()
    run.settle("r:3", error=ValueError("third"))
    run.settle("r:2", error=ValueError("second"))
    assert not run.ended()
    assert run.settle("r:1").result == "second"


def test_failures_stand_in_the_list_when_they_are_asked_for() -> None:
    def body(ctx: Context) -> Body:
        found = yield ctx.gather(far(ctx, "a"), far(ctx, "b", {1}), return_exceptions=True)
        return [type(one).__name__ for one in found]

    run = Run(body).replay()
    assert run.settle("r:1", error=KeyError("gone")).result == ["KeyError", "Encoding"]


def test_an_empty_gather_is_an_empty_list() -> None:
    def body(ctx: Context) -> Body:
        return (yield ctx.gather())

    assert Run(body).replay().result == []


def test_a_gather_of_something_else_names_it() -> None:
    def body(ctx: Context) -> Body:
        yield ctx.gather(ctx.sleep(1), 42)  # type: ignore[arg-type]  # the point of the test

    run = Run(body).replay()
    assert run.state is PromiseState.REJECTED
    assert "ctx.gather was given an object of type int" in run.result["message"]


def test_a_gather_can_be_awaited() -> None:
    async def body(ctx: Context) -> Any:
        return await ctx.gather(far(ctx, "a"), ctx.lfc(leaf, 3))

    with AsyncRun(body).replay() as run:
        assert run.settle("r:1", 1).result == [1, 3]


def test_random_numbers_and_the_time_are_drawn_once() -> None:
    def body(ctx: Context) -> Body:
        draws = ctx.random
        found = yield ctx.gather(
            draws.random(),
            draws.betavariate(1, 2),
            draws.choice(("a", "b")),
            draws.expovariate(2),
            draws.getrandbits(8),
            draws.randint(1, 6),
            draws.randrange(0, 10, 5),
            draws.triangular(),
            draws.uniform(1, 2),
            draws.uuid4(),
            ctx.time.time(),
            ctx.time.strftime("%Y"),
        )
        yield far(ctx, "bar")
        return found

    run = Run(body)
    run.dependencies = {"resonate:random": random.Random(1), "resonate:time": time}
    run.replay()
    run.settle("r:13")
    first = run.result
    assert run.replay().result == first
    assert len(run.leaves) == 12
    assert first[2] in ("a", "b")
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-.{12}", first[9])
    assert time.time() - first[10] < 60
    assert run.recorded["r:6"].param.headers["func"] == "random.randint"


def test_what_random_numbers_come_from_can_be_replaced() -> None:
    class Loaded:
        def randint(self, lowest: int, highest: int) -> int:
            return highest

    def body(ctx: Context) -> Body:
        return (yield ctx.random.randint(1, 6))

    run = Run(body)
    run.dependencies = {"resonate:random": Loaded()}
    assert run.replay().result == 6


def booked(ctx: Context) -> Body:
    yield far(ctx, "book", "flight")
    ctx.compensate("cancel", "flight").options(target="elsewhere")
    yield far(ctx, "book", "hotel")
    ctx.compensate(leaf, "hotel")
    yield far(ctx, "book", "car")
    return "booked"


async def booked_async(ctx: Context) -> str:
    await far(ctx, "book", "flight")
    ctx.compensate("cancel", "flight").options(target="elsewhere")
    await far(ctx, "book", "hotel")
    ctx.compensate(leaf, "hotel")
    await far(ctx, "book", "car")
    return "booked"


@pytest.mark.parametrize("body", [booked, booked_async])
def test_compensations_run_backwards_as_recorded_steps_before_the_error_is_told(
    body: Callable[..., Any],
) -> None:
    with AsyncRun(body).replay() as run:
        run.settle("r:1")
        run.settle("r:3")
        run.settle("r:5", error=ValueError("no car left"))
        assert run.created == ["r:1", "r:3", "r:5", "r:4", "r:2"]
        assert run.driver.waits_for() == {"r:2"}
        run.replay()
        assert run.leaves.count("r:4") == 1
        run.settle("r:2")
        assert run.state is PromiseState.REJECTED
        assert run.result["message"] == "no car left"


@pytest.mark.parametrize("body", [booked, booked_async])
def test_a_body_that_returns_compensates_nothing(body: Callable[..., Any]) -> None:
    with AsyncRun(body).replay() as run:
        for settled in ("r:1", "r:3", "r:5"):
            run.settle(settled)
        assert run.result == "booked"
        assert run.created == ["r:1", "r:3", "r:5"]


def test_only_what_was_registered_before_the_failure_is_compensated() -> None:
    with AsyncRun(booked).replay() as run:
        run.settle("r:1")
        run.settle("r:3", error=ValueError("no room"))
        assert run.created == ["r:1", "r:3", "r:2"]
        assert run.settle("r:2").result["message"] == "no room"


def test_a_failed_compensation_is_logged_and_the_others_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with AsyncRun(booked).replay() as run:
        run.settle("r:1")
        run.settle("r:3")
        run.settle("r:5", error=ValueError("no car left"))
        run.settle("r:2", error=KeyError("flight"))
        assert run.result["message"] == "no car left"
    assert "r: compensation r:2 failed: 'flight'" in caplog.text


def test_compensations_wait_for_what_is_still_under_way() -> None:
    def body(ctx: Context) -> Body:
        yield ctx.rfi("ship").options(target="elsewhere")
        ctx.compensate("return", "parcel").options(target="elsewhere")
        raise ValueError("no address")

    run = Run(body).replay()
    assert run.created == ["r:1"]
    run.settle("r:1")
    assert run.created == ["r:1", "r:2"]
    assert run.settle("r:2").state is PromiseState.REJECTED


def test_a_plain_function_and_a_local_step_compensate_as_well() -> None:
    def step(ctx: Context) -> None:
        ctx.compensate("undo").options(target="elsewhere")
        raise ValueError("no")

    def body(ctx: Context) -> Body:
        yield ctx.lfc(step)

    run = Run(step).replay()
    assert run.created == ["r:1"]
    assert run.settle("r:1").result["message"] == "no"
    run = Run(body).replay()
    assert run.created == ["r:1", "r:1.1"]
    assert run.settle("r:1.1").result["message"] == "no"


def test_a_delayed_call_carries_the_instant_at_which_it_may_start() -> None:
    def body(ctx: Context) -> Body:
        yield ctx.rfc("a").options(target="elsewhere", delay=2.5)

    run = Run(body).replay()
    assert run.recorded["r:1"].tags["resonate:delay"] == "1002500"
    with pytest.raises(UsageError, match="runs in this process; it takes no delay"):
        Context("r", Info(1, 0, 1), {}).lfc(leaf).options(delay=1)


def test_a_child_with_an_id_of_its_own_keeps_its_number_and_names_the_id() -> None:
    def body(ctx: Context) -> Body:
        yield ctx.rfi("a").options(target="elsewhere", id="order-7")
        approval = yield ctx.promise(id="approval-7")
        assert approval.id == "approval-7"
        yield ctx.rfi("b").options(target="elsewhere", id="r:3")
        theirs = yield ctx.get("other:2")
        return [theirs, (yield approval)]

    run = Run(body).replay()
    tags = {one.id: one.tags for one in run.recorded.values()}
    assert [tags[f"r:{n}"].get("resonate:mirror") for n in (1, 2, 3, 4)] == [
        "order-7",
        "approval-7",
        None,
        "other:2",
    ]
    assert tags["r:1"]["resonate:target"] == "poll://any@elsewhere"
    assert not {"resonate:external", "resonate:target"} & tags["r:4"].keys()
    assert run.recorded["r:4"].param.data == ""
    for n in (1, 2, 3):
        run.settle(f"r:{n}", n)
    assert run.settle("r:4", "theirs").result == ["theirs", 2]


def test_a_local_call_with_an_id_of_its_own_is_a_call_of_the_own_group() -> None:
    def body(ctx: Context) -> Body:
        return (yield ctx.lfc("leaf").options(id="once"))

    run = Run(body)
    run.registry.register(leaf)
    run.replay()
    assert run.leaves == []
    assert run.recorded["r:1"].tags["resonate:target"] == "poll://any@g"
    assert run.recorded["r:1"].tags["resonate:mirror"] == "once"


def test_another_id_of_its_own_halts() -> None:
    ids = iter(["one", "other"])

    def body(ctx: Context) -> Body:
        yield ctx.rfc("a").options(target="elsewhere", id=next(ids))
        yield ctx.sleep(1)

    run = Run(body).replay()
    run.settle("r:1")
    run.replay()
    assert run.halted is not None
    assert "with the id 'one'" in run.halted
    assert "with the id 'other'" in run.halted


@pytest.mark.parametrize("wrong", ["", "a:b", "x" * 201, "a\nb", 7])
def test_an_id_that_cannot_be_is_refused_where_it_is_written(wrong: Any) -> None:
    with pytest.raises(UsageError, match="id"):
        Context("r", Info(1, 0, 1), {}).rfc("f").options(id=wrong)


def test_a_yielded_coroutine_is_refused_with_what_to_do() -> None:
    async def other() -> None: ...

    def body(ctx: Context) -> Body:
        coroutine = other()
        try:
            yield coroutine
        except NotDurable as error:
            return str(error)
        finally:
            coroutine.close()

    assert "yielded an object of type coroutine" in Run(body).replay().result
