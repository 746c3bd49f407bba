"""Promises from outside, and the tree of one call."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from resonate_amqp import Conflict, Context, Resonate, UsageError
from resonate_amqp.core.model import PromiseState
from resonate_amqp.operate.tree import render


def test_a_promise_is_created_resolved_and_read(resonate: Resonate) -> None:
    assert resonate.promises.create("p", data={"for": "a person"}).pending
    assert resonate.promises.resolve("p", [1, 2]).state is PromiseState.RESOLVED
    assert resonate.promises.get("p").state is PromiseState.RESOLVED
    assert resonate.get("p").result() == [1, 2]


def test_settling_again_as_before_is_fine_and_otherwise_a_conflict(resonate: Resonate) -> None:
    resonate.promises.create("p")
    resonate.promises.resolve("p", 1)
    resonate.promises.resolve("p", 1)
    with pytest.raises(Conflict, match="is resolved already"):
        resonate.promises.resolve("p", 2)
    with pytest.raises(Conflict):
        resonate.promises.cancel("p")


def test_a_rejected_promise_raises_its_error(resonate: Resonate) -> None:
    resonate.promises.create("p")
    resonate.promises.reject("p", ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        resonate.get("p").result()


def test_what_does_not_exist_is_named(resonate: Resonate) -> None:
    for ask in (resonate.get, resonate.promises.get, resonate.promises.resolve):
        with pytest.raises(UsageError, match="'ghost' does not exist"):
            ask("ghost")


def test_the_tree_shows_what_a_call_called(resonate: Resonate) -> None:
    @resonate.register
    def top(ctx: Context) -> Generator[Any, Any, Any]:
        yield ctx.lfc(leaf)
        yield ctx.sleep(0)
        yield ctx.rfi("down").options(target="nobody")
        yield ctx.promise()

    def leaf(_ctx: Context) -> None:
        return

    handle = resonate.rpc("top", top)
    with pytest.raises(TimeoutError):
        handle.result(0.2)
    lines = render("top", resonate.tree("top:1"))
    assert lines == [
        "top 🟡 (rpc top) [acquired]",
        "├── top:1 🟢 (run leaf)",
        "├── top:2 🟢 (sleep)",
        "├── top:3 🟡 (rpc down) [pending]",
        "└── top:4 🟡 (promise)",
    ]
    assert render("nothing", resonate.tree("nothing")) == ["nothing"]
