"""What a handle says when its result does not come in time."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from resonate_amqp.core.model import Promise
from resonate_amqp.runtime.handle import Handle


def test_a_result_that_does_not_come_in_time_names_the_call_and_that_it_goes_on() -> None:
    handle: Handle[int] = Handle("order-7", Future[Promise](), left_ms=60_000)

    with pytest.raises(TimeoutError, match=r"'order-7' was not settled within 0.01 s; it goes on"):
        handle.result(0.01)
