"""Calls from outside and between durable functions, over an embedded system."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from typing import Any

import pytest

from resonate_amqp import (
    Canceled,
    Constant,
    Context,
    Handle,
    InvalidId,
    InvalidTarget,
    RemoteError,
    Resonate,
    Stopped,
    TimedOut,
    UnknownFunction,
    UsageError,
)

Body = Generator[Any, Any, Any]
WAIT_S = 10


def add(_ctx: Context, one: int, other: int = 1) -> int:
    return one + other


def test_rpc_answers_a_handle_with_the_result(resonate: Resonate) -> None:
    resonate.register(add)
    handle = resonate.rpc("sum", "add", 2, other=3)
    assert isinstance(handle, Handle)
    assert handle.id == "sum"
    assert handle.result(WAIT_S) == 5
    assert handle.done()


def test_a_handle_can_be_awaited(resonate: Resonate) -> None:
    resonate.register(add)

    async def ask() -> Any:
        return await resonate.rpc("sum", add, 2)

    assert asyncio.run(ask()) == 3


def test_the_same_id_is_the_same_execution(resonate: Resonate) -> None:
    ran = []

    @resonate.register
    def once(_ctx: Context, n: int) -> int:
        ran.append(n)
        return n

    handles = [resonate.rpc("the-id", once, n) for n in range(5)]
    assert [handle.result(WAIT_S) for handle in handles] == [0] * 5
    assert ran == [0]


def test_run_executes_in_this_process_and_get_finds_it(resonate: Resonate) -> None:
    where = []

    @resonate.register
    def here(_ctx: Context) -> str:
        where.append(threading.current_thread().name)
        return "done"

    assert resonate.run("r", here).result(WAIT_S) == "done"
    assert resonate.begin_run("r", here).result(WAIT_S) == "done"
    assert resonate.get("r").result(WAIT_S) == "done"
    assert len(where) == 1


def test_run_of_a_workflow_waits_for_remote_calls(resonate: Resonate) -> None:
    resonate.register(add)

    @resonate.register
    def flow(ctx: Context) -> Body:
        return (yield ctx.rfc("add", 1)) + (yield ctx.rpc(add, 1))

    assert resonate.run("flow", flow).result(WAIT_S) == 4


def test_a_registered_function_stays_callable_and_calls_itself_durably(
    resonate: Resonate,
) -> None:
    function = resonate.register(name="sum", version=2)(add)
    assert function(None, 1, 2) == 3  # type: ignore[arg-type]  # no context is needed here
    assert function.rpc("one", 4).result(WAIT_S) == 5
    assert function.run("two", 5).result(WAIT_S) == 6


def test_functions_can_be_named_by_object_or_by_name(resonate: Resonate) -> None:
    function = resonate.register(add)

    @resonate.register
    def flow(ctx: Context) -> Body:
        by_object = yield ctx.rfc(function, 1)
        by_raw = yield ctx.rfc(add, by_object)
        local = yield ctx.lfc(function, by_raw)
        return (yield ctx.lfc("add", local))

    assert resonate.rpc("flow", flow).result(WAIT_S) == 5


def test_versions_stand_side_by_side(resonate: Resonate) -> None:
    resonate.register(lambda _ctx: "old", name="f", version=1)
    resonate.register(lambda _ctx: "new", name="f", version=2)
    assert resonate.rpc("latest", "f").result(WAIT_S) == "new"
    assert resonate.options(version=1).rpc("first", "f").result(WAIT_S) == "old"


@pytest.mark.parametrize(
    ("name", "version"),
    [("", 0), ("taken", 1)],
)
def test_a_registration_that_cannot_be_is_refused(
    resonate: Resonate, name: str, version: int
) -> None:
    resonate.register(add, name="taken")
    with pytest.raises(UsageError):
        resonate.register(add, name=name, version=version)


def test_a_lambda_needs_a_name(resonate: Resonate) -> None:
    with pytest.raises(UsageError, match="lambda"):
        resonate.register(lambda _ctx: 1)


def test_an_unknown_function_without_a_target_names_what_is_known(resonate: Resonate) -> None:
    resonate.register(add)
    with pytest.raises(UnknownFunction, match=r"'nowhere' is not registered.*add.*target"):
        resonate.rpc("id", "nowhere")


@pytest.mark.parametrize("bad", ["", "a:b", "a\nb", "x" * 201, "\ud800", 5, None])
def test_an_id_that_cannot_be_is_refused(resonate: Resonate, bad: str) -> None:
    resonate.register(add)
    with pytest.raises(InvalidId):
        resonate.rpc(bad, add, 1)


@pytest.mark.parametrize("bad", ["", "poll://", "http://x", "poll://any@a b", "poll://uni@g", 5])
def test_a_target_that_cannot_be_is_refused(resonate: Resonate, bad: str) -> None:
    with pytest.raises(InvalidTarget):
        resonate.options(target=bad).rpc("id", "f")


def test_an_error_keeps_type_message_and_remote_traceback(resonate: Resonate) -> None:
    @resonate.register
    def fails(_ctx: Context) -> None:
        raise LookupError("no such thing", 7)

    with pytest.raises(LookupError) as caught:
        resonate.rpc("fails", fails).result(WAIT_S)
    assert caught.value.args == ("no such thing", 7)
    cause = caught.value.__cause__
    assert isinstance(cause, RemoteError)
    assert "in fails" in cause.remote_traceback


class Declined(Exception):
    pass


def test_an_error_of_the_users_own_type_comes_as_remote_error(resonate: Resonate) -> None:
    @resonate.register
    def declines(_ctx: Context) -> None:
        raise Declined("card expired")

    with pytest.raises(RemoteError, match="card expired") as caught:
        resonate.rpc("declines", declines).result(WAIT_S)
    assert caught.value.type_name.endswith("Declined")


def test_wrong_arguments_are_an_error_of_the_call_naming_the_function(
    resonate: Resonate,
) -> None:
    resonate.register(add, retry_policy=Constant(delay=60))
    with pytest.raises(TypeError, match=r"add\(.*missing a required argument"):
        resonate.rpc("wrong", add).result(WAIT_S)


def test_an_async_leaf_runs(resonate: Resonate) -> None:
    @resonate.register
    async def later(_ctx: Context, n: int) -> int:
        await asyncio.sleep(0)
        return n + 1

    assert resonate.rpc("later", later, 1).result(WAIT_S) == 2


def test_a_failing_leaf_is_tried_again_as_its_policy_says(resonate: Resonate) -> None:
    attempts = []

    def flaky(ctx: Context) -> int:
        attempts.append(ctx.info.attempt)
        if len(attempts) < 3:
            raise ConnectionError("again")
        return len(attempts)

    resonate.register(flaky, retry_policy=Constant(delay=0.01, max_retries=5))
    assert resonate.rpc("flaky", flaky).result(WAIT_S) == 3
    assert attempts == [1, 2, 3]


def test_a_policy_ends_and_then_the_error_stands(resonate: Resonate) -> None:
    attempts = []

    def hopeless(_ctx: Context) -> None:
        attempts.append(1)
        raise ConnectionError("no")

    @resonate.register
    def flow(ctx: Context) -> Body:
        policy = Constant(delay=0.01, max_retries=2)
        yield ctx.lfc(hopeless).options(retry_policy=policy)

    with pytest.raises(ConnectionError):
        resonate.rpc("flow", flow).result(WAIT_S)
    assert len(attempts) == 3


def test_the_deadline_rejects_a_call_that_takes_too_long(resonate: Resonate) -> None:
    with pytest.raises(TimedOut):
        resonate.options(target="nobody", timeout=0.05).rpc("late", "f").result()


def test_result_gives_up_after_its_own_timeout_and_may_be_asked_again(
    resonate: Resonate,
) -> None:
    gate = threading.Event()

    @resonate.register
    def slow(_ctx: Context) -> int:
        gate.wait(WAIT_S)
        return 1

    handle = resonate.rpc("slow", slow)
    with pytest.raises(TimeoutError):
        handle.result(0.01)
    assert not handle.done()
    gate.set()
    assert handle.result(WAIT_S) == 1


def test_a_sleep_ends(resonate: Resonate) -> None:
    @resonate.register
    def naps(ctx: Context) -> Body:
        yield ctx.sleep(0.02)
        return "awake"

    assert resonate.rpc("naps", naps).result(WAIT_S) == "awake"


def test_a_person_settles_a_promise_of_a_waiting_body(resonate: Resonate) -> None:
    asked: list[str] = []
    ready = threading.Event()

    @resonate.register
    def approval(ctx: Context) -> Body:
        promise = yield ctx.promise()
        yield ctx.lfc(tell, promise.id)
        return (yield promise)

    def tell(_ctx: Context, promise_id: str) -> None:
        asked.append(promise_id)
        ready.set()

    handle = resonate.rpc("approval", approval)
    assert ready.wait(WAIT_S)
    resonate.promises.resolve(asked[0], {"approved": True})
    assert handle.result(WAIT_S) == {"approved": True}


def test_canceling_a_promise_raises_canceled_where_it_is_awaited(resonate: Resonate) -> None:
    handle = resonate.options(target="nobody").rpc("waits", "f")
    resonate.promises.cancel("waits")
    with pytest.raises(Canceled):
        handle.result(WAIT_S)


def test_a_body_finds_its_dependencies_and_its_info(resonate: Resonate) -> None:
    resonate.set_dependency("database", {"x": 1})

    @resonate.register(version=3)
    def looks(ctx: Context) -> Any:
        return [ctx.get_dependency("database")["x"], ctx.info.version, ctx.info.tags["colour"]]

    assert resonate.options(tags={"colour": "red"}).rpc("looks", looks).result(WAIT_S) == [
        1,
        3,
        "red",
    ]


def test_tuples_come_back_as_lists_live_as_on_replay(resonate: Resonate) -> None:
    @resonate.register
    def flow(ctx: Context) -> Body:
        value = yield ctx.lfc(pair)
        return [type(value).__name__, value]

    def pair(_ctx: Context) -> Any:
        return 1, 2

    assert resonate.rpc("flow", flow).result(WAIT_S) == ["list", [1, 2]]


def test_a_stopped_instance_says_so(resonate: Resonate) -> None:
    resonate.register(add)
    resonate.rpc("one", add, 1).result(WAIT_S)
    resonate.stop()
    with pytest.raises((Stopped, UsageError), match="stopped"):
        resonate.rpc("two", add, 1)


def test_a_call_under_way_when_the_instance_stops_is_told(resonate: Resonate) -> None:
    handle = resonate.options(target="nobody").rpc("waits", "f")
    resonate.stop()
    with pytest.raises(Stopped):
        handle.result(WAIT_S)
