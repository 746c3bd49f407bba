"""Ledgers that cannot be used: refused at the start, naming what is wrong and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from resonate_amqp import Embedded
from resonate_amqp.errors import (
    UsageError,
)


def test_a_foreign_database_is_refused_and_the_command_named(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER)")
    connection.close()
    with pytest.raises(Exception, match=r"orders.*resonate-amqp ledger migrate") as refused:
        Embedded(ledger=f"sqlite:///{path}")
    assert "other.db" in str(refused.value)
    assert type(refused.value).__name__ == "SchemaError"


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, and no database\n" * 100, encoding="utf-8")
    for _ in range(2):
        with pytest.raises(Exception, match=r"notes\.txt cannot be used: .*not a database"):
            Embedded(ledger=f"sqlite:///{path}")
    assert path.read_text(encoding="utf-8").startswith("these are my notes")


def test_a_database_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    """Opened read-only, because file modes do not bind root."""
    path = tmp_path / "ledger.db"
    Embedded(ledger=f"sqlite:///{path}").close()
    with pytest.raises(Exception, match=r"cannot be used: .*readonly.*is writable"):
        Embedded(ledger=f"sqlite:///file:{path}?mode=ro&uri=true")
    with pytest.raises(Exception, match=r"cannot be (used|locked)"):
        Embedded(ledger=f"sqlite:///{tmp_path}/missing/ledger.db")


@pytest.mark.parametrize("url", ["mysql://x/y", "nonsense", "sqlite://", "sqlite:///:memory:"])
def test_a_ledger_url_of_something_else_is_refused_with_the_forms(url: str) -> None:
    with pytest.raises(UsageError, match="sqlite:///FILE"):
        Embedded(ledger=url)
