"""A ledger of each kind, promoted at NOW."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resonate_amqp.dev.databases import ForeignPostgres
from resonate_amqp.dev.postgres import PrivatePostgres
from resonate_amqp.ledgers import schema
from resonate_amqp.ledgers.memory import MemoryLedger
from resonate_amqp.ledgers.sql import SqlLedger
from resonate_amqp.ports import Ledger
from tests.core.world import NOW

POSTGRES = pytest.param("postgres", marks=pytest.mark.postgres)


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema and nothing in it."""
    path = tmp_path_factory.mktemp("ledger") / "empty.db"
    schema.prepare(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(tmp_path: Path, empty_ledger: Path) -> str:
    """A SQLite database of its own for each test, with the schema."""
    path = tmp_path / "ledger.db"
    shutil.copyfile(empty_ledger, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", POSTGRES])
def url(request: pytest.FixtureRequest) -> str:
    """A database of its own for each test, with the schema."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["sqlite", POSTGRES])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of its own for each test."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'new.db'}"
        return
    server: PrivatePostgres | ForeignPostgres = request.getfixturevalue("postgres")
    url = server.new_database()
    yield url
    server.discard_database(url)


@pytest.fixture
def opened(url: str) -> Iterator[Callable[[], SqlLedger]]:
    """Opens ledgers on the same database, none of them promoted."""
    ledgers: list[SqlLedger] = []

    def open_one() -> SqlLedger:
        ledgers.append(SqlLedger(url))
        return ledgers[-1]

    yield open_one
    for ledger in ledgers:
        ledger.close()


@pytest.fixture(params=["memory", "sqlite", POSTGRES])
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    made: Ledger
    if request.param == "memory":
        made = MemoryLedger()
    else:
        made = SqlLedger(str(request.getfixturevalue(f"{request.param}_url")))
    made.promote(NOW)
    yield made
    made.close()
