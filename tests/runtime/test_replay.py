"""What a body may rely on, live and on replay."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from resonate_amqp.core.model import PromiseState
from resonate_amqp.errors import NotDurable
from resonate_amqp.runtime.context import Context
from resonate_amqp.wire.codec import decode
from tests.runtime.bodies import DAY_MS, NOW, Run

Body = Generator[Any, Any, Any]


def remote(ctx: Context, name: str, *args: Any) -> Any:
    return ctx.rfc(name, *args).options(target="elsewhere")


def test_a_remote_call_is_recorded_before_it_is_awaited() -> None:
    def body(ctx: Context) -> Body:
        return (yield remote(ctx, "bar", 1)) + 1

    run = Run(body).replay()
    assert run.created == ["r:1"]
    assert run.awaited == {"r:1"}
    assert run.driver.waits_for() == {"r:1"}
    assert run.settle("r:1", 4).result == 5


def test_a_finished_step_never_runs_again() -> None:
    def body(ctx: Context) -> Body:
        one = yield ctx.lfc(leaf, 1)
        other = yield remote(ctx, "bar")
        return one + other

    def leaf(_ctx: Context, n: int) -> int:
        return n + 1

    run = Run(body).replay()
    assert run.leaves == ["r:1"]
    run.recorded["r:2"] = run.recorded["r:2"].but(state=PromiseState.RESOLVED, settled_at=NOW)
    run.settle("r:2", None)
    again = run.replay()
    assert again.leaves == ["r:1"]
    assert again.finished is not None


def test_without_a_complete_preload_a_local_step_asks_before_it_runs() -> None:
    def body(ctx: Context) -> Body:
        return (yield ctx.lfc(leaf))

    def leaf(_ctx: Context) -> str:
        return "ran"

    run = Run(body).replay()
    assert run.leaves == ["r:1"]
    run.replay(complete=False, preload=False)
    assert run.leaves == ["r:1"]
    assert run.result == "ran"


def test_without_a_complete_preload_a_step_that_never_ran_runs_once() -> None:
    def body(ctx: Context) -> Body:
        return (yield ctx.lfc(leaf))

    def leaf(_ctx: Context) -> str:
        return "ran"

    run = Run(body).replay(complete=False, preload=False)
    assert run.leaves == ["r:1"]
    assert run.ended()


def test_an_rfi_goes_on_at_once_and_is_awaited_later() -> None:
    def body(ctx: Context) -> Body:
        one = yield ctx.rfi("x").options(target="elsewhere")
        other = yield ctx.rfi("y").options(target="elsewhere")
        return [(yield one), (yield other), (yield one)]

    run = Run(body).replay()
    assert run.created == ["r:1", "r:2"]
    run.settle("r:2", "b")
    assert not run.ended()
    run.settle("r:1", "a")
    assert run.result == ["a", "b", "a"]


def test_a_child_started_and_never_awaited_is_waited_for_and_its_failure_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def body(ctx: Context) -> Body:
        yield ctx.rfi("x").options(target="elsewhere")
        return "mine"

    run = Run(body).replay()
    assert not run.ended()
    assert run.awaited == {"r:1"}
    run.settle("r:1", error=ValueError("lost"))
    assert run.state is PromiseState.RESOLVED
    assert "without awaiting r:1, which was rejected" in caplog.text


def test_a_raising_body_waits_for_its_children_too() -> None:
    def body(ctx: Context) -> Body:
        yield ctx.rfi("x").options(target="elsewhere")
        raise KeyError("gone")

    run = Run(body).replay()
    assert not run.ended()
    run.settle("r:1")
    assert run.state is PromiseState.REJECTED


def test_a_detached_child_is_not_waited_for_and_outlives_its_parents_deadline() -> None:
    def body(ctx: Context) -> Body:
        yield ctx.detached("x").options(target="elsewhere")
        return 1

    run = Run(body, timeout_ms=5_000).replay()
    assert run.ended()
    assert run.recorded["r:1"].timeout_at == NOW + DAY_MS


def test_a_childs_deadline_is_capped_by_its_parents() -> None:
    def body(ctx: Context) -> Body:
        yield ctx.rfi("x").options(target="elsewhere", timeout=3_600)
        yield ctx.rfi("y").options(target="elsewhere", timeout=2)
        yield ctx.promise()

    run = Run(body, timeout_ms=5_000).replay()
    deadlines = [run.recorded[f"r:{n}"].timeout_at - NOW for n in (1, 2, 3)]
    assert deadlines == [5_000, 2_000, 5_000]


def test_commands_built_and_not_yielded_are_dispatched_in_order_when_the_body_returns() -> None:
    def body(ctx: Context) -> Body:
        ctx.rfi("first").options(target="elsewhere")
        yield ctx.rfi("second").options(target="elsewhere")
        ctx.rfi("third").options(target="elsewhere")
        return 1

    run = Run(body).replay()
    assert run.created == ["r:2"]
    run.settle("r:2")
    assert run.created == ["r:2", "r:1", "r:3"]
    assert run.ended()


def test_a_body_that_raises_dispatches_nothing_it_did_not_yield() -> None:
    def body(ctx: Context) -> Body:
        ctx.rfi("never").options(target="elsewhere")
        if ctx.id:
            raise ValueError
        yield

    run = Run(body).replay()
    assert run.created == []
    assert run.ended()


def test_a_plain_function_dispatches_what_it_built() -> None:
    def leaf(ctx: Context) -> int:
        ctx.rfi("qux").options(target="elsewhere")
        return 1

    run = Run(leaf).replay()
    assert run.created == ["r:1"]
    assert run.ended()


def test_a_rejected_call_raises_its_builtin_type_where_it_is_awaited() -> None:
    def body(ctx: Context) -> Body:
        try:
            yield remote(ctx, "bar")
        except ValueError as error:
            return error.args

    run = Run(body).replay()
    run.settle("r:1", error=ValueError("no", 3))
    assert run.result == ["no", 3]


def test_a_value_that_is_not_json_is_refused_at_the_yield() -> None:
    def body(ctx: Context) -> Body:
        try:
            yield remote(ctx, "bar", {"prices": [1, {2}]})
        except Exception as error:
            return str(error)

    finished = Run(body).replay().finished
    assert finished is not None
    assert decode(finished.value).startswith("args[0].prices[1]: set is not a JSON type")


def test_what_is_not_a_command_is_refused_at_the_yield() -> None:
    def body(ctx: Context) -> Body:
        try:
            yield 42
        except NotDurable as error:
            return str(error)

    finished = Run(body).replay().finished
    assert finished is not None
    assert "yielded an object of type int" in decode(finished.value)


def test_a_local_workflow_nests_its_steps_under_its_own_id() -> None:
    def body(ctx: Context) -> Body:
        return (yield ctx.lfc(inner, 2))

    def inner(ctx: Context, n: int) -> Body:
        return (yield ctx.lfc(leaf, n)) + (yield remote(ctx, "x"))

    def leaf(_ctx: Context, n: int) -> int:
        return n

    run = Run(body).replay()
    assert run.created == ["r:1", "r:1.1", "r:1.2"]
    assert run.recorded["r:1.2"].tags["resonate:branch"] == "r"
    run.settle("r:1.2", 5)
    assert run.result == 7


def test_a_call_inserted_before_a_recorded_one_halts_naming_both() -> None:
    def before(ctx: Context) -> Body:
        yield remote(ctx, "bar")

    def after(ctx: Context) -> Body:
        yield remote(ctx, "inserted")
        yield remote(ctx, "bar")

    run = Run(before).replay()
    run.func = after
    run.settle("r:1", 1)
    run.replay()
    assert run.halted is not None
    assert "'bar'" in run.halted
    assert "'inserted'" in run.halted


def test_a_risen_version_of_the_called_function_is_no_difference() -> None:
    def body(ctx: Context) -> Body:
        yield ctx.rfc("bar", 1)

    run = Run(body)
    run.registry.register(lambda _ctx, _n: None, name="bar", version=1)
    run.replay()
    run.registry.register(lambda _ctx, _n: None, name="bar", version=2)
    run.replay()
    assert run.halted is None
    assert run.driver.waits_for() == {"r:1"}


def test_other_arguments_halt() -> None:
    arguments = iter([1, 2])

    def body(ctx: Context) -> Body:
        yield remote(ctx, "bar", next(arguments))

    run = Run(body).replay()
    run.replay()
    assert run.halted is not None
    assert "with other arguments: recorded (1), now (2); first difference at args[0]: 1, 2" in (
        run.halted
    )


def test_a_refused_command_raises_where_it_is_awaited() -> None:
    def body(ctx: Context) -> Body:
        promised = yield ctx.rfi("x").options(target="elsewhere")
        try:
            yield promised
        except ValueError as error:
            return str(error)

    run = Run(body)
    run.replay()
    run.driver.refused("r:1", _refusal(), NOW)
    run.pump()
    assert run.result == "too long"


class _Refusal(ValueError):
    pass


def _refusal() -> Any:
    return _Refusal("too long")


def test_closing_a_waiting_body_runs_its_finally_blocks() -> None:
    closed = []

    def body(ctx: Context) -> Body:
        try:
            yield remote(ctx, "bar")
        finally:
            closed.append(True)

    run = Run(body).replay()
    run.driver.close()
    assert closed == [True]
    assert run.driver.take() == []


def test_the_body_is_told_nothing_twice() -> None:
    def body(ctx: Context) -> Body:
        return (yield remote(ctx, "bar"))

    run = Run(body).replay()
    run.settle("r:1", 1)
    run.settle("r:1", 1)
    assert run.driver.take() == []


def test_a_returned_command_is_an_error_that_says_to_yield_it() -> None:
    def leaf(ctx: Context) -> Any:
        return ctx.rfc("bar").options(target="elsewhere")

    run = Run(leaf).replay()
    assert run.state is PromiseState.REJECTED
    assert "yield it instead" in run.result["message"]


def test_one_command_yielded_twice_is_one_step() -> None:
    def body(ctx: Context) -> Body:
        command = ctx.lfi(leaf)
        one = yield command
        other = yield command
        return [(yield one), (yield other)]

    def leaf(_ctx: Context) -> int:
        return 4

    run = Run(body).replay()
    assert run.leaves == ["r:1"]
    assert run.result == [4, 4]


def test_a_refused_child_nobody_awaits_does_not_hold_its_parent_up() -> None:
    def body(ctx: Context) -> Body:
        yield ctx.rfi("x").options(target="elsewhere")
        return "done"

    run = Run(body).replay()
    assert not run.ended()
    run.driver.refused("r:1", _refusal(), NOW)
    run.pump()
    assert run.result == "done"
