"""Fixtures of these tests: a shop on a virtual host of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import kombu.pools
import pytest

from resonate_amqp.dev.choose import ChosenBroker
from tests.ext.celery.system import Client, Shop


@pytest.fixture(scope="package", autouse=True)
def pools() -> Iterator[None]:
    """Kombu's connections, which clients of one broker share, are closed in the end."""
    yield
    kombu.pools.reset()


@pytest.fixture(scope="module")
def shop(broker: ChosenBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop with a ledger and one prefork worker of one slot, for a module's tests."""
    url = broker.new_vhost()
    made = Shop(url, tmp_path_factory.mktemp("shop"))
    try:
        made.ledger()
        made.wait_for_ledger()
        made.celery()
        yield made
    finally:
        made.kill_all()
        sys.stdout.write(made.logs())
        broker.discard_vhost(url)


@pytest.fixture(scope="module")
def client(shop: Shop) -> Iterator[Client]:
    with shop.client() as made:
        yield made


@pytest.fixture
def own_shop(vhost_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop of the test's own, with a ledger."""
    made = Shop(vhost_url, tmp_path)
    try:
        made.ledger()
        made.wait_for_ledger()
        yield made
    finally:
        made.kill_all()
        sys.stdout.write(made.logs())


@pytest.fixture(scope="module")
def stocked(broker: ChosenBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop with a ledger, for a module's tests."""
    url = broker.new_vhost()
    made = Shop(url, tmp_path_factory.mktemp("stocked"))
    try:
        made.ledger()
        made.wait_for_ledger()
        yield made
    finally:
        made.kill_all()
        sys.stdout.write(made.logs())
        broker.discard_vhost(url)
