"""A second broker, for what two brokers are to be told apart by."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from resonate_amqp.dev.binaries import installed
from resonate_amqp.dev.broker import PrivateBroker


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateBroker]:
    """A broker beside the shared one, of another name."""
    if not installed() and not os.environ.get("CI"):
        pytest.skip("rabbitmq-server is not installed; `make system` installs it")
    with PrivateBroker(tmp_path_factory.mktemp("other")) as node:
        node.control("set_cluster_name", "other@example")
        yield node
