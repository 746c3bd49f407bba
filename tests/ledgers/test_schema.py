"""Which databases a ledger accepts, and what the others are told."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any, TypeVar

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from resonate_amqp import Context, Resonate
from resonate_amqp.core.batch import Batch
from resonate_amqp.errors import LedgerUnavailable, SchemaError, UsageError
from resonate_amqp.ledgers import schema
from resonate_amqp.ledgers.database import connect, parse, shown
from resonate_amqp.ledgers.sql import SqlLedger
from resonate_amqp.ledgers.tables import Base
from tests.core.world import NOW

T = TypeVar("T")

PREVIOUS = Path(__file__).parent / "golden" / "previous.sql"


def execute(url: str, *statements: str) -> list[tuple[object, ...]]:
    """Run statements past the package; answers the rows of the last."""

    def run(connection: Connection) -> list[tuple[object, ...]]:
        with connection.begin():
            results = [connection.execute(text(statement)) for statement in statements]
            return [tuple(row) for row in results[-1]] if results[-1].returns_rows else []

    return opened(url, run)


def opened(url: str, use: Callable[[Connection], T]) -> T:
    connection = connect(url)
    try:
        return use(connection)
    finally:
        connection.close()
        connection.engine.dispose()


def tables(url: str) -> list[str]:
    return opened(url, lambda connection: sorted(inspect(connection).get_table_names()))


def version_of(url: str) -> list[tuple[object, ...]]:
    return execute(url, f"SELECT version_num FROM {schema.VERSION_TABLE}")


def test_an_empty_database_is_given_the_schema(new_url: str) -> None:
    assert schema.prepare(new_url)
    assert version_of(new_url) == [(schema.HEAD,)]


def test_a_prepared_database_can_be_written(new_url: str) -> None:
    schema.prepare(new_url)
    ledger = SqlLedger(new_url)
    ledger.promote(NOW)
    assert ledger.apply(Batch(), NOW).now == NOW
    ledger.close()


def test_ledgers_that_start_together_on_an_empty_database_all_find_the_schema(new_url: str) -> None:
    count = 4
    together = Barrier(count)

    def start(_: int) -> None:
        together.wait()
        schema.prepare(new_url)

    with ThreadPoolExecutor(count) as threads:
        list(threads.map(start, range(count)))
    assert version_of(new_url) == [(schema.HEAD,)]
    assert execute(new_url, "SELECT count(*) FROM ledger_queues") == [(1,)]


def test_a_database_of_this_release_is_accepted_as_it_is(url: str) -> None:
    execute(url, "UPDATE ledger_queues SET now = 77")
    assert not schema.prepare(url)
    assert execute(url, "SELECT now FROM ledger_queues") == [(77,)]


def test_a_database_of_something_else_is_refused_naming_the_command(new_url: str) -> None:
    execute(new_url, "CREATE TABLE orders (id INTEGER)")
    with pytest.raises(SchemaError, match=r"orders.*resonate-amqp ledger migrate"):
        schema.prepare(new_url)
    assert tables(new_url) == ["orders"]


def test_a_database_of_something_else_takes_the_schema_when_it_is_told_to(new_url: str) -> None:
    execute(new_url, "CREATE TABLE orders (id INTEGER)")
    assert schema.migrate(new_url) == ("", schema.HEAD)
    assert not schema.prepare(new_url)
    assert execute(new_url, "SELECT count(*) FROM orders") == [(0,)]


def test_a_schema_of_another_release_is_refused_naming_both_and_the_command(url: str) -> None:
    execute(url, f"UPDATE {schema.VERSION_TABLE} SET version_num = 'r9999'")
    with pytest.raises(SchemaError, match=rf"r9999.*{schema.HEAD}.*resonate-amqp ledger migrate"):
        schema.prepare(url)


def test_a_schema_of_a_later_release_is_not_migrated(url: str) -> None:
    execute(url, f"UPDATE {schema.VERSION_TABLE} SET version_num = 'r9999'")
    with pytest.raises(SchemaError, match=r"r9999.*does not know"):
        schema.migrate(url)
    assert version_of(url) == [("r9999",)]


def test_a_version_table_without_a_version_is_refused(url: str) -> None:
    execute(url, f"DELETE FROM {schema.VERSION_TABLE}")
    with pytest.raises(SchemaError, match="schema none"):
        schema.prepare(url)


def test_migrating_twice_is_harmless(new_url: str) -> None:
    assert schema.migrate(new_url) == ("", schema.HEAD)
    assert schema.migrate(new_url) == (schema.HEAD, schema.HEAD)


def differences(url: str) -> object:
    """What a database lacks of the tables that are declared, or has beside them."""

    def compare(connection: Connection) -> object:
        options = {"version_table": schema.VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        return compare_metadata(context, Base.metadata)

    return opened(url, compare)


def test_the_migrations_make_what_the_tables_declare(url: str) -> None:
    assert differences(url) == []


def test_text_is_ordered_by_its_bytes_whatever_language_the_database_speaks(
    postgres_url: str,
) -> None:
    others = (
        "SELECT table_name, column_name, collation_name FROM information_schema.columns "
        "WHERE table_schema = 'public' AND data_type = 'text' "
        "AND collation_name IS DISTINCT FROM 'C'"
    )
    assert execute(postgres_url, others) == []


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database at all\n" * 100)
    with pytest.raises(LedgerUnavailable, match="not a database"):
        schema.prepare(f"sqlite:///{tmp_path / 'notes.txt'}")


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match=r"nowhere.*check that the database is there"):
        schema.prepare(f"sqlite:///{tmp_path / 'nowhere' / 'ledger.db'}")


def test_a_database_that_cannot_be_written_is_refused_before_anything_is_served(
    sqlite_url: str,
) -> None:
    path = sqlite_url.removeprefix("sqlite:///")
    with pytest.raises(LedgerUnavailable, match="readonly"):
        schema.prepare(f"sqlite:///file:{path}?mode=ro&uri=true")


def test_a_user_who_may_only_read_is_refused_before_anything_is_served(postgres_url: str) -> None:
    reader = f"{postgres_url}?options=-c%20default_transaction_read_only=on"
    with pytest.raises(LedgerUnavailable, match="read-only transaction"):
        schema.prepare(reader)


def test_an_empty_database_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    execute(f"sqlite:///{tmp_path / 'empty.db'}", "CREATE TABLE t (x)", "DROP TABLE t")
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


def test_a_database_of_the_release_before_is_migrated_with_all_it_holds(tmp_path: Path) -> None:
    """It was dumped from that release: one order is finished, another one waits."""
    path = tmp_path / "previous.db"
    with contextlib.closing(sqlite3.connect(path)) as written:
        written.executescript(PREVIOUS.read_text(encoding="utf-8"))
    url = f"sqlite:///{path}"
    with pytest.raises(SchemaError, match=rf"r0001.*{schema.HEAD}.*ledger migrate"):
        schema.prepare(url)
    assert schema.migrate(url) == ("r0001", schema.HEAD)
    assert differences(url) == []
    resonate = Resonate(ledger=url, group="shop", grace=0.2)

    @resonate.register
    def order(ctx: Context, item: str) -> Generator[Any, Any, str]:
        paid = yield ctx.lfc(charge, item)
        word = yield (yield ctx.promise())
        return f"{paid}, {word}"

    def charge(_ctx: Context, item: str) -> str:
        raise AssertionError(f"{item} is paid already")

    with resonate:
        assert resonate.get("order-0").result(10) == "a pen paid, sent"
        resonate.promises.resolve("order-1:2", "sent now")
        assert resonate.get("order-1").result(10) == "a book paid, sent now"
