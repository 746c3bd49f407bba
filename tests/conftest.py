"""Fixtures of every test: a real broker when there is one, and a virtual host per test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from resonate_amqp.dev.choose import ChosenBroker, choose
from resonate_amqp.errors import BrokerError


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the broker, before `-m` selects."""
    for item in items:
        if "broker" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.rabbitmq)
        if item.get_closest_marker("rabbitmq"):
            # With `-n`, one worker runs all of these: one node is what a small machine can carry.
            item.add_marker(pytest.mark.xdist_group("rabbitmq"))


@pytest.fixture(scope="session")
def broker() -> Iterator[ChosenBroker]:
    """A running broker that is not ours to break; without one the test is skipped, in CI failed."""
    try:
        chosen = choose()
    except BrokerError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    yield chosen
    chosen.stop()


@pytest.fixture
def vhost_url(broker: ChosenBroker) -> Iterator[str]:
    """The url of an empty virtual host of this test's own."""
    url = broker.new_vhost()
    yield url
    broker.discard_vhost(url)
