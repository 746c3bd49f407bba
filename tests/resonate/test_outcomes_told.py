"""What telemetry is told of a body whose promise somebody else settled."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from resonate_amqp import Canceled, Context, Resonate
from tests.examples.programs import wait_until


class Told:
    """Satisfies the port `Telemetry`; keeps how each body ended."""

    def __init__(self) -> None:
        self.ended: dict[str, str] = {}

    def started(self, promise_id: str, function: str, version: int) -> None:
        return

    def finished(self, promise_id: str, function: str, outcome: str, duration_ms: float) -> None:
        self.ended[promise_id] = outcome

    def called(self, promise_id: str, parent_id: str, function: str, kind: str) -> None:
        return


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def resonate(told: Told) -> Iterator[Resonate]:
    made = Resonate(telemetry=told)
    yield made
    made.stop()


def test_a_leaf_that_ends_after_its_promise_was_canceled_is_told_as_lost(
    resonate: Resonate, told: Told
) -> None:
    running, may_end = threading.Event(), threading.Event()

    @resonate.register
    def slow(_ctx: Context) -> int:
        running.set()
        may_end.wait(10)
        return 1

    handle = slow.rpc("call")
    assert running.wait(5)
    resonate.promises.cancel("call")
    with pytest.raises(Canceled):
        handle.result(5)
    may_end.set()

    assert wait_until("the body has ended", lambda: told.ended) == {"call": "lost"}


def test_a_leaf_whose_result_is_recorded_is_told_as_resolved(
    resonate: Resonate, told: Told
) -> None:
    @resonate.register
    def quick(_ctx: Context) -> int:
        return 1

    assert quick.rpc("call").result(5) == 1
    assert wait_until("the body has ended", lambda: told.ended) == {"call": "resolved"}
