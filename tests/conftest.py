"""Fixtures of every test: a real broker when there is one, and a virtual host per test."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest

from resonate_amqp.dev.choose import ChosenBroker, choose
from resonate_amqp.dev.databases import ForeignPostgres, named_postgres
from resonate_amqp.dev.postgres import PrivatePostgres
from resonate_amqp.errors import BrokerError, LedgerUnavailable
from resonate_amqp.ledgers import schema


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the broker or the database server, before `-m` selects."""
    # A connection attempt that a killed broker cuts off leaves its socket to be collected, in
    # whatever test runs then; tests without a broker stay strict.
    lenient = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
    for item in items:
        if "broker" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.rabbitmq)
        if "postgres" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.postgres)
        if item.get_closest_marker("rabbitmq") or item.get_closest_marker("processes"):
            item.add_marker(lenient)
        if item.get_closest_marker("rabbitmq"):
            # With `-n`, one worker runs all of these: one node is what a small machine can carry.
            item.add_marker(pytest.mark.xdist_group("rabbitmq"))
        elif item.get_closest_marker("postgres"):
            item.add_marker(pytest.mark.xdist_group("postgres"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Spell out in what a test logged the characters that `-n` cannot send between processes."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


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


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres | ForeignPostgres]:
    """A PostgreSQL server that is not ours to break; without one as without a broker."""
    try:
        chosen = named_postgres() or PrivatePostgres()
        if isinstance(chosen, PrivatePostgres):
            chosen.start()
    except LedgerUnavailable as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    yield chosen
    chosen.stop()


@pytest.fixture(scope="session")
def empty_postgres(postgres: PrivatePostgres | ForeignPostgres) -> str:
    """A database with the schema of a ledger and nothing in it, to be copied."""
    url = postgres.new_database()
    schema.prepare(url)
    return url


@pytest.fixture
def postgres_url(postgres: PrivatePostgres | ForeignPostgres, empty_postgres: str) -> Iterator[str]:
    """A database of this test's own, with the schema of a ledger."""
    url = postgres.new_database(empty_postgres)
    yield url
    postgres.discard_database(url)
