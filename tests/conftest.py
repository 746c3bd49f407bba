"""Fixtures of every test: real servers and Node.js where there are, a virtual host per test."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from resonate_amqp.dev.choose import ChosenBroker, choose
from resonate_amqp.dev.databases import ForeignPostgres, named_postgres
from resonate_amqp.dev.postgres import PrivatePostgres
from resonate_amqp.errors import BrokerError, LedgerUnavailable
from resonate_amqp.ledgers import schema
from tests.marking import marks_of
from tests.redis_server import PrivateRedis

AMQPLIB = "amqplib@2"
NPM_S = 120.0


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses a real server or Node.js, before `-m` selects."""
    # A connection attempt that a killed broker cuts off leaves its socket to be collected, in
    # whatever test runs then; tests without a broker stay strict.
    lenient = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
    for item in items:
        for mark in marks_of(item):
            item.add_marker(mark)
        if item.get_closest_marker("rabbitmq") or item.get_closest_marker("processes"):
            item.add_marker(lenient)
        if item.get_closest_marker("rabbitmq"):
            # With `-n` alone one worker runs all of these, on one node; `--dist` may say otherwise.
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
        _do_without(str(error))
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
        _do_without(str(error))
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


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRedis]:
    """A Redis server that is not ours to break; without one as without a broker."""
    program = shutil.which("redis-server") or _do_without(
        "redis-server is not installed here: `make system` installs it"
    )
    made = PrivateRedis(program, tmp_path_factory.mktemp("redis"))
    yield made
    made.stop()


@pytest.fixture
def redis_url(redis: PrivateRedis) -> Iterator[str]:
    """The url of a Redis database in which there is nothing yet."""
    yield redis.url
    redis.empty()


@pytest.fixture(scope="session")
def nodejs() -> str:
    """The program `node`; without it as without a broker."""
    return shutil.which("node") or _do_without(
        "Node.js is not installed here: `make system` installs it"
    )


@pytest.fixture(scope="session")
def amqplib(nodejs: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What NODE_PATH has to be for a program of Node.js to find npm's amqplib."""
    npm = shutil.which("npm") or _do_without("npm is not installed here: `make system` does it")
    folder = tmp_path_factory.mktemp("amqplib")
    options = ("--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts")
    done = subprocess.run(
        [npm, "install", *options, "--prefix", folder, AMQPLIB],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=NPM_S,
        check=False,
    )
    if done.returncode != 0:
        _do_without(f"npm could not install {AMQPLIB}: {done.stderr.strip()}")
    return folder / "node_modules"


def _do_without(reason: str) -> NoReturn:
    """Skip the test that needs what is not here; in CI, where everything has to be, fail it."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
