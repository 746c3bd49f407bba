"""A ledger of each kind, promoted at NOW."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resonate_amqp.ledgers import schema
from resonate_amqp.ledgers.memory import MemoryLedger
from resonate_amqp.ledgers.sql import SqlLedger
from resonate_amqp.ports import Ledger
from tests.core.world import NOW


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema and nothing in it."""
    path = tmp_path_factory.mktemp("ledger") / "empty.db"
    schema.prepare(f"sqlite:///{path}")
    return path


@pytest.fixture
def url(tmp_path: Path, empty_ledger: Path) -> str:
    """A SQLite database of its own for each test, with the schema."""
    path = tmp_path / "ledger.db"
    shutil.copyfile(empty_ledger, path)
    return f"sqlite:///{path}"


@pytest.fixture
def opened(url: str) -> Iterator[Callable[[], SqlLedger]]:
    """Opens ledgers on the same SQLite file, none of them promoted."""
    ledgers: list[SqlLedger] = []

    def open_one() -> SqlLedger:
        ledgers.append(SqlLedger(url))
        return ledgers[-1]

    yield open_one
    for ledger in ledgers:
        ledger.close()


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest) -> Ledger:
    made: Ledger
    if request.param == "memory":
        made = MemoryLedger()
    else:
        open_one: Callable[[], SqlLedger] = request.getfixturevalue("opened")
        made = open_one()
    made.promote(NOW)
    return made
