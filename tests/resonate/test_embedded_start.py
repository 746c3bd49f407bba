"""An embedded Resonate serves what is registered, whenever that was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from resonate_amqp import Context, Resonate


@pytest.fixture
def resonate() -> Iterator[Resonate]:
    made = Resonate()
    yield made
    made.stop()


def test_a_function_registered_after_the_first_request_is_served(resonate: Resonate) -> None:
    resonate.promises.create("before-any-function")

    @resonate.register
    def one(_ctx: Context) -> int:
        return 1

    assert one.rpc("call").result(5) == 1
