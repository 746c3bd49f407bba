"""Fixtures for pytest, there as soon as the package is installed.

Nothing of the system is imported before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from resonate_amqp.resonate import Resonate
    from resonate_amqp.testing.system import System


@pytest.fixture
def resonate_system() -> Iterator[System]:
    """A durable system for this test: `advance`, `crash_at`, `deliver_twice`, `history`.

    The test fails at its end when a `crash_at` was never reached.
    """
    from resonate_amqp.testing.system import System

    with System() as system:
        yield system


@pytest.fixture
def resonate(resonate_system: System) -> Resonate:
    """A Resonate in `resonate_system`, of the group `default`."""
    return resonate_system.resonate()
