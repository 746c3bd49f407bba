"""What a handle says when its result does not come in time."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from resonate_amqp.core.model import Promise, PromiseState
from resonate_amqp.runtime.handle import Handle
from resonate_amqp.wire.codec import encode


def test_a_result_that_does_not_come_in_time_names_the_call_and_that_it_goes_on() -> None:
    handle: Handle[int] = Handle("order-7", Future[Promise](), left_ms=60_000)

    with pytest.raises(TimeoutError, match=r"'order-7' was not settled within 0.01 s; it goes on"):
        handle.result(0.01)


def test_who_waits_without_a_timeout_is_told_once_in_the_log_that_it_is_halted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settled: Future[Promise] = Future()

    def look() -> str:
        settled.set_result(resolved)
        return "it is halted (poison): redrive it"

    value = encode(7)
    resolved = Promise(
        id="order-7",
        state=PromiseState.RESOLVED,
        param=value,
        value=value,
        tags={},
        timeout_at=1,
        created_at=0,
    )
    handle: Handle[int] = Handle("order-7", settled, left_ms=60_000, look=look, patience_s=0)
    assert handle.result() == 7
    assert caplog.messages == ["order-7: it is halted (poison): redrive it"]
