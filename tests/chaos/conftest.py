"""Fixtures of what breaks on purpose: a broker of its own, and systems of processes on it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resonate_amqp.dev.binaries import installed
from resonate_amqp.dev.broker import PrivateBroker
from tests.scenarios.system import System


@pytest.fixture(scope="session", autouse=True)
def installed_broker() -> None:
    """What may be broken is a private node; where there is none the tests are skipped."""
    if not installed() and not os.environ.get("CI"):
        pytest.skip("rabbitmq-server is not installed; `make system` installs it")


@pytest.fixture(scope="session")
def node() -> Iterator[PrivateBroker]:
    """A broker that may be told to cut connections; what kills a broker starts one of its own."""
    with PrivateBroker() as made:
        yield made


@pytest.fixture
def system(node: PrivateBroker, tmp_path: Path) -> Iterator[System]:
    """A system in which nothing runs yet; what runs at the end is killed."""
    url = node.new_vhost()
    made = System(url, tmp_path)
    yield made
    made.kill_all()
    node.discard_vhost(url)
    sys.stdout.write(made.logs())
