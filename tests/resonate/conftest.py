"""An embedded system for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from resonate_amqp import Resonate


@pytest.fixture
def resonate() -> Iterator[Resonate]:
    made = Resonate(group="g", grace=1, request_timeout=5)
    yield made
    made.stop()
