"""An execution that is halted says so to whoever waits for it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from resonate_amqp import Context, Resonate

Flow = Generator[Any, Any, Any]


@pytest.fixture
def resonate() -> Generator[Resonate, None, None]:
    with Resonate(grace=1) as resonate:

        @resonate.register
        def waits(ctx: Context) -> Flow:
            yield ctx.sleep(3_600)

        @resonate.register
        def answer(_ctx: Context) -> int:
            return 42

        yield resonate


def test_a_timeout_says_that_the_execution_is_halted_why_and_what_lets_it_go_on(
    resonate: Resonate,
) -> None:
    handle = resonate.rpc("w", "waits")
    with pytest.raises(TimeoutError, match="it goes on, and may be waited for again"):
        handle.result(1)
    resonate.tasks.halt("w", "poison")
    for waited_for in (handle, resonate.get("w"), resonate.rpc("w", "waits")):
        with pytest.raises(TimeoutError) as told:
            waited_for.result(1)
        assert "it is halted (poison): `resonate-amqp tasks redrive w`" in str(told.value)
