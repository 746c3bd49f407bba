"""Which databases a ledger accepts, and what the others are told."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from resonate_amqp.errors import LedgerUnavailable, SchemaError, UsageError
from resonate_amqp.ledgers import schema
from resonate_amqp.ledgers.database import connect, parse, shown
from resonate_amqp.ledgers.sql import SqlLedger
from resonate_amqp.ledgers.tables import Base
from resonate_amqp.ports import Batch
from tests.core.world import NOW


def execute(path: Path, *statements: str) -> list[tuple[object, ...]]:
    """Run statements past the package; answers the rows of the last."""
    connection = sqlite3.connect(path)
    try:
        rows: list[tuple[object, ...]] = []
        for statement in statements:
            rows = connection.execute(statement).fetchall()
        connection.commit()
        return rows
    finally:
        connection.close()


def opened(url: str, use: Callable[[Connection], object]) -> object:
    connection = connect(url)
    try:
        return use(connection)
    finally:
        connection.close()
        connection.engine.dispose()


def version_of(path: Path) -> list[tuple[object, ...]]:
    return execute(path, f"SELECT version_num FROM {schema.VERSION_TABLE}")


def test_an_empty_database_is_given_the_schema(tmp_path: Path) -> None:
    schema.prepare(f"sqlite:///{tmp_path / 'new.db'}")
    assert version_of(tmp_path / "new.db") == [(schema.head(),)]


def test_a_prepared_database_can_be_written(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    schema.prepare(url)
    ledger = SqlLedger(url)
    ledger.promote(NOW)
    assert ledger.apply(Batch(), NOW).now == NOW
    ledger.close()


def test_a_database_of_this_release_is_accepted_as_it_is(url: str, tmp_path: Path) -> None:
    execute(tmp_path / "ledger.db", "UPDATE ledger_queues SET now = 77")
    schema.prepare(url)
    assert execute(tmp_path / "ledger.db", "SELECT now FROM ledger_queues") == [(77,)]


def test_a_database_of_something_else_is_refused_naming_the_command(tmp_path: Path) -> None:
    execute(tmp_path / "shop.db", "CREATE TABLE orders (id INTEGER)")
    with pytest.raises(SchemaError, match=r"orders.*resonate-amqp ledger migrate"):
        schema.prepare(f"sqlite:///{tmp_path / 'shop.db'}")
    assert execute(tmp_path / "shop.db", "SELECT name FROM sqlite_master") == [("orders",)]


def test_a_database_of_something_else_takes_the_schema_when_it_is_told_to(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    execute(tmp_path / "shop.db", "CREATE TABLE orders (id INTEGER)")
    assert schema.migrate(url) == ("", schema.head())
    schema.prepare(url)
    assert execute(tmp_path / "shop.db", "SELECT count(*) FROM orders") == [(0,)]


def test_a_schema_of_another_release_is_refused_naming_both_and_the_command(
    url: str, tmp_path: Path
) -> None:
    execute(tmp_path / "ledger.db", f"UPDATE {schema.VERSION_TABLE} SET version_num = 'r9999'")
    with pytest.raises(SchemaError, match=rf"r9999.*{schema.head()}.*resonate-amqp ledger migrate"):
        schema.prepare(url)


def test_a_schema_of_a_later_release_is_not_migrated(url: str, tmp_path: Path) -> None:
    execute(tmp_path / "ledger.db", f"UPDATE {schema.VERSION_TABLE} SET version_num = 'r9999'")
    with pytest.raises(SchemaError, match=r"r9999.*does not know"):
        schema.migrate(url)
    assert version_of(tmp_path / "ledger.db") == [("r9999",)]


def test_a_version_table_without_a_version_is_refused(url: str, tmp_path: Path) -> None:
    execute(tmp_path / "ledger.db", f"DELETE FROM {schema.VERSION_TABLE}")
    with pytest.raises(SchemaError, match="schema none"):
        schema.prepare(url)


def test_migrating_twice_is_harmless(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    assert schema.migrate(url) == ("", schema.head())
    assert schema.migrate(url) == (schema.head(), schema.head())


def test_the_migrations_make_what_the_tables_declare(url: str) -> None:
    def differences(connection: Connection) -> object:
        options = {"version_table": schema.VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        return compare_metadata(context, Base.metadata)

    assert opened(url, differences) == []


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database at all\n" * 100)
    with pytest.raises(LedgerUnavailable, match="not a database"):
        schema.prepare(f"sqlite:///{tmp_path / 'notes.txt'}")


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match=r"nowhere.*check that the database is there"):
        schema.prepare(f"sqlite:///{tmp_path / 'nowhere' / 'ledger.db'}")


def test_a_database_that_cannot_be_written_is_refused_before_anything_is_served(
    tmp_path: Path, url: str
) -> None:
    with pytest.raises(LedgerUnavailable, match="readonly"):
        schema.prepare(f"sqlite:///file:{tmp_path / 'ledger.db'}?mode=ro&uri=true")


def test_an_empty_database_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    execute(tmp_path / "empty.db", "CREATE TABLE t (x)", "DROP TABLE t")
    with pytest.raises(LedgerUnavailable, match="readonly"):
        schema.prepare(f"sqlite:///file:{tmp_path / 'empty.db'}?mode=ro&uri=true")


@pytest.mark.parametrize(
    "url", ["", "ledger.db", "sqlite://", "sqlite:///:memory:", "mysql://h/db", "sqlite+x:///f"]
)
def test_a_url_of_no_supported_database_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="write sqlite:///FILE or postgresql://"):
        parse(url)


def test_a_password_is_never_shown() -> None:
    assert "secret" not in shown("postgresql://user:secret@host/db")
    with pytest.raises(UsageError) as refused:
        parse("mysql://user:secret@host/db")
    assert "secret" not in str(refused.value)
