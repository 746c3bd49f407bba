"""What a tree says of time: how long something waits, or when it ends."""

from __future__ import annotations

from typing import Any

from resonate_amqp.core.model import EMPTY, Promise, PromiseState, Task, TaskState
from resonate_amqp.operate.tree import describe


def promise(**tags: str) -> Promise:
    named = {f"resonate:{name}": text for name, text in tags.items()}
    pending: dict[str, Any] = {"state": PromiseState.PENDING, "param": EMPTY, "tags": named}
    return Promise(id="r:1", timeout_at=7_210_000, created_at=10_000, **pending)


def test_a_sleep_shows_when_it_ends() -> None:
    assert describe(promise(timer="true"), None, 3_610_000) == "r:1 🟡 (sleep) ends in 1 h"


def test_what_was_put_off_shows_when_it_is_offered() -> None:
    task = Task(id="r:1", state=TaskState.PENDING, retry_at=74_000, offered=False)
    line = describe(promise(target="poll://any@g"), task, 70_000)
    assert line == "r:1 🟡 [pending] g, 1 min, offered in 4 s"


def test_what_was_offered_shows_how_long_it_has_been_there() -> None:
    task = Task(id="r:1", state=TaskState.PENDING, retry_at=74_000, offered=True)
    assert describe(promise(target="poll://any@g"), task, 70_000).endswith("g, 1 min")
