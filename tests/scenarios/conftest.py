"""Fixtures of the scenarios: a system of processes on the shared broker."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.system import System


@pytest.fixture
def system(vhost_url: str, tmp_path: Path) -> Iterator[System]:
    """A system in which nothing runs yet; what runs at the end is killed."""
    made = System(vhost_url, tmp_path)
    yield made
    made.kill_all()
    sys.stdout.write(made.logs())
