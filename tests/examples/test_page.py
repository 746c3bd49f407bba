"""The walkthrough this project started from: its Python parts, run as they are written there.

Only imports and the construction of `Resonate` are added. One test per line of the list of what
the walkthrough promises; what takes processes is shown in test_examples.py.
"""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, jsonify

from resonate_amqp import Resonate
from resonate_amqp.core.model import SCOPE, TARGET
from tests.examples.programs import wait_until

GATEWAY = """
@app.route("/await-chain", methods=["POST"])
def await_chain_route_handler():
    promise_id = "await-chain"
    handle = resonate.options(target="poll://service-a").rpc(promise_id, "foo")
    message = handle.result()
    return jsonify({"message": message}), 200
"""

FOO = """
@resonate.register
def foo(ctx):
    result = yield ctx.rfc("bar").options(target="poll://service-b")
    return result + 1
"""

BAR = """
@resonate.register
def bar(ctx):
    result = yield ctx.rfc("baz").options(target="poll://service-c")
    return result + 1
"""

DETACHED = 'ctx.rfi("qux").options(target="poll://service-d")'

BAZ = """
@resonate.register
def baz(ctx):
    return 1
"""

ZIM = """
@resonate.register
def zim(ctx, arg):
    one = yield ctx.rfi("rax", arg).options(target="poll://service-h")
    other = yield ctx.rfi("dop", arg).options(target="poll://service-i")
    return arg + (yield one) + (yield other)

@resonate.register
def rax(ctx, arg):
    return arg

@resonate.register
def dop(ctx, arg):
    return arg
"""

CHAIN = """
printed = []

@resonate.register
def qux(ctx, arg):
    yield ctx.detached("quz", arg + 1).options(target="poll://service-e")

@resonate.register
def quz(ctx, arg):
    yield ctx.detached("cog", arg + 1).options(target="poll://service-f")

@resonate.register
def cog(ctx, arg):
    printed.append(arg)
"""


class Page:
    """The page's names around one embedded Resonate; `runs` counts the bodies by function."""

    def __init__(self) -> None:
        self.runs: dict[str, int] = {}
        self.resonate = Resonate(telemetry=self)
        self.app = Flask(__name__)
        self.names: dict[str, Any] = {
            "app": self.app,
            "jsonify": jsonify,
            "resonate": self.resonate,
        }

    def read(self, *snippets: str) -> None:
        for snippet in snippets:
            exec(snippet, self.names)

    def post(self, path: str) -> tuple[int, Any]:
        answer = self.app.test_client().post(path)
        return answer.status_code, answer.get_json()

    def states(self, root: str) -> dict[str, str]:
        return {promise.id: promise.state.value for promise, _ in self.resonate.tree(root)}

    def started(self, promise_id: str, function: str, version: int) -> None:
        self.runs[function] = self.runs.get(function, 0) + 1

    def finished(self, promise_id: str, function: str, outcome: str, duration_ms: float) -> None:
        return

    def called(self, promise_id: str, parent_id: str, function: str, kind: str) -> None:
        return


@pytest.fixture
def page() -> Iterator[Page]:
    made = Page()
    yield made
    made.resonate.stop()


def test_every_call_is_durable_and_a_finished_one_is_not_run_again(page: Page) -> None:
    page.read(GATEWAY, FOO, BAR, BAZ)

    page.post("/await-chain")

    assert page.states("await-chain") == {
        "await-chain": "resolved",
        "await-chain:1": "resolved",
        "await-chain:1.1": "resolved",
    }
    assert page.post("/await-chain") == (200, {"message": 3})
    assert page.runs == {"foo": 1, "bar": 1, "baz": 1}


@pytest.mark.parametrize("call", ["rpc", "begin_rpc"])
def test_an_ephemeral_caller_gets_a_handle_and_its_result(page: Page, call: str) -> None:
    page.read(FOO, BAR, BAZ)

    handle = getattr(page.resonate.options(target="poll://service-a"), call)("chain", "foo")

    assert handle.result(10) == 3


def test_rfc_answers_the_value_and_rfi_a_promise_to_be_yielded_later(page: Page) -> None:
    page.read(FOO, BAR, BAZ, ZIM)
    page.read(
        """
@resonate.register
def both(ctx):
    value = yield ctx.rfc("baz").options(target="poll://service-c")
    promise = yield ctx.rfi("baz").options(target="poll://service-c")
    return [value, hasattr(promise, "id"), (yield promise), (yield promise)]
"""
    )

    assert page.resonate.rpc("both", "both").result(10) == [1, True, 1, 1]


@pytest.mark.parametrize("target", ["poll://service-c", "poll://any@service-c", "service-c"])
def test_every_form_of_a_target_leads_to_the_same_group(page: Page, target: str) -> None:
    page.read(BAZ)
    page.read(
        f'''
@resonate.register
def one(ctx):
    return (yield ctx.rfc("baz").options(target="{target}"))
'''
    )

    assert page.resonate.rpc("one", "one").result(10) == 1
    child = page.resonate.promises.get("one:1")
    assert child.tags[TARGET] == "poll://any@service-c"


def test_the_bare_decorator_takes_generators_and_plain_functions(page: Page) -> None:
    page.read(BAR, BAZ)

    assert page.names["baz"](None) == 1
    assert page.names["baz"].rpc("leaf").result(10) == 1
    assert page.names["bar"].rpc("workflow").result(10) == 2


def test_the_same_id_is_the_same_execution_running_or_finished(page: Page) -> None:
    page.read(
        """
@resonate.register
def waits(ctx):
    approved = yield ctx.promise()
    return (yield approved)
"""
    )
    first = page.names["waits"].rpc("one-id")
    second = page.names["waits"].rpc("one-id")
    wait_until("the promise is there", lambda: "one-id:1" in page.states("one-id"))
    page.resonate.promises.resolve("one-id:1", "yes")

    assert [first.result(10), second.result(10)] == ["yes", "yes"]
    assert page.names["waits"].rpc("one-id").result(10) == "yes"
    assert page.runs == {"waits": 1}


@pytest.mark.parametrize(
    "line", [DETACHED, "yield ctx.detached('qux').options(target='service-d')"]
)
def test_fire_and_forget_without_yield_or_by_detached_runs(page: Page, line: str) -> None:
    page.read(
        f"""
@resonate.register
def starts(ctx):
{textwrap.indent(line, "    ")}
    return "done"

@resonate.register
def qux(ctx):
    return "ran"
"""
    )

    assert page.names["starts"].rpc("starts").result(10) == "done"
    assert page.resonate.get("starts:1").result(10) == "ran"


def test_a_result_is_recorded_before_the_caller_goes_on(page: Page) -> None:
    page.read(BAZ)
    page.read(
        """
@resonate.register
def looks(ctx):
    yield ctx.rfc("baz").options(target="poll://service-c")
    return (yield ctx.lfc(state_of, ctx.id + ":1"))

def state_of(ctx, promise_id):
    return resonate.promises.get(promise_id).state.value
"""
    )

    assert page.names["looks"].rpc("looks").result(10) == "resolved"


def test_the_await_chain_answers_three(page: Page) -> None:
    page.read(GATEWAY, FOO, BAR, BAZ)

    assert page.post("/await-chain") == (200, {"message": 3})


def test_the_detached_chain_hands_three_to_cog_and_nobody_waits(page: Page) -> None:
    page.read(CHAIN)

    assert page.names["qux"].rpc("detached-chain", 1).result(10) is None
    wait_until("cog has run", lambda: page.names["printed"])
    assert page.names["printed"] == [3]


def test_the_fan_out_answers_three(page: Page) -> None:
    page.read(ZIM)

    assert page.names["zim"].rpc("fan-out-workflow", 1).result(10) == 3
    kinds = {promise.tags[SCOPE] for promise, _ in page.resonate.tree("fan-out-workflow")}
    assert kinds == {"global"}


def test_each_call_goes_to_the_group_of_its_service(page: Page) -> None:
    page.read(GATEWAY, FOO, BAR, BAZ)

    page.post("/await-chain")

    targets = [promise.tags[TARGET] for promise, _ in page.resonate.tree("await-chain")]
    assert targets == [f"poll://any@service-{letter}" for letter in "abc"]


def test_logs_show_each_hop(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "resonate_amqp"), Resonate() as resonate:
        names: dict[str, Any] = {"resonate": resonate}
        for snippet in (FOO, BAR, BAZ):
            exec(snippet, names)
        resonate.rpc("await-chain", "foo").result(10)

    for hop in (
        "await-chain started foo",
        "await-chain calls bar as await-chain:1",
        "await-chain:1 calls baz as await-chain:1.1",
        "await-chain:1.1 baz resolved",
        "await-chain foo resolved",
    ):
        assert hop in caplog.text


def test_one_process_without_a_broker_is_enough_to_run_the_page(page: Page) -> None:
    assert page.resonate.settings.url == ""
    page.read(GATEWAY, FOO, BAR, BAZ)

    assert page.post("/await-chain") == (200, {"message": 3})


def test_start_now_and_ask_later_and_a_promise_that_somebody_else_settles(page: Page) -> None:
    page.read(
        """
@resonate.register
def order(ctx):
    approval = yield ctx.promise()
    return "approved by " + (yield approval)
"""
    )
    page.names["order"].rpc("order-1")
    assert not page.resonate.get("order-1").done()

    wait_until("the promise is there", lambda: "order-1:1" in page.states("order-1"))
    page.resonate.promises.resolve("order-1:1", "Ada")

    assert page.resonate.get("order-1").result(10) == "approved by Ada"


def test_what_yielding_a_detached_call_answers_is_no_number(page: Page) -> None:
    page.read(CHAIN)
    page.read(
        """
@resonate.register
def adds(ctx):
    result = yield ctx.detached("cog", 3).options(target="poll://service-f")
    return result + 1
"""
    )

    with pytest.raises(TypeError, match=r"unsupported operand"):
        page.names["adds"].rpc("adds").result(10)
    wait_until("cog has run all the same", lambda: page.names["printed"])
