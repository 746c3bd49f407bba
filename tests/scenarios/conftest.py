"""Fixtures of the scenarios: a system of processes on the shared broker, and a node to break."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resonate_amqp.dev.binaries import installed
from resonate_amqp.dev.broker import PrivateBroker
from tests.scenarios.system import System


@pytest.fixture
def system(vhost_url: str, tmp_path: Path) -> Iterator[System]:
    """A system in which nothing runs yet; what runs at the end is killed."""
    made = System(vhost_url, tmp_path)
    yield made
    made.kill_all()
    sys.stdout.write(made.logs())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the module's own node."""
    return tmp_path_factory.mktemp("node")


@pytest.fixture(scope="module")
def node(home: Path) -> Iterator[PrivateBroker]:
    """A node that the module's tests may break."""
    if not installed() and not os.environ.get("CI"):
        pytest.skip("rabbitmq-server is not installed; `make system` installs it")
    with PrivateBroker(home) as started:
        yield started
