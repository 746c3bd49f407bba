"""Whether a database holds the schema of this release, and how it gets it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from resonate_amqp.errors import SchemaError
from resonate_amqp.ledgers.database import connect, shown, unavailable

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

HEAD = "r0002"
"""The schema version of this release."""
VERSION_TABLE = "resonate_alembic_version"

_LOCK = 0x7265736F6E617465


def prepare(url: str) -> bool:
    """Create the schema in an empty database and accept this release's own.

    Answers whether the database was empty.

    Raises SchemaError for any other database, naming the command that changes it, and
    LedgerUnavailable when the database cannot be read or written.
    """
    with _connected(url) as connection:
        tables = set(inspect(connection).get_table_names())
        connection.commit()
        if not tables:
            _upgrade(connection, url)
            return True
        _accept(connection, url, tables)
        # On a read-only file SQLite begins a write without complaint and refuses only the write.
        with connection.begin():
            connection.execute(text("UPDATE ledger_queues SET now = now"))
        return False


def check(url: str) -> None:
    """Accept a database with this release's schema, and write nothing.

    Raises SchemaError for any other, and LedgerUnavailable when it cannot be read.
    """
    with _connected(url, reading=True) as connection:
        tables = set(inspect(connection).get_table_names())
        connection.commit()
        if not tables:
            raise SchemaError(f"ledger {shown(url)} is empty: no ledger has used it yet")
        _accept(connection, url, tables)


def migrate(url: str) -> tuple[str, str]:
    """Bring the schema to this release's; answers the versions before and after.

    Raises SchemaError when the database comes from a later release.
    """
    with _connected(url) as connection:
        tables = set(inspect(connection).get_table_names())
        connection.commit()
        before = _version(connection) if VERSION_TABLE in tables else ""
        known = {script.revision for script in _scripts().walk_revisions()}
        if before and before not in known:
            raise SchemaError(
                f"ledger {shown(url)} has schema {before}, which this release does not know; "
                "use the release that wrote it, or a later one"
            )
        _upgrade(connection, url)
        return before, _version(connection)


def configuration() -> Config:
    """Alembic's configuration; the connection to use goes into its `attributes`."""
    from alembic.config import Config

    config = Config()
    location = resources.files("resonate_amqp.ledgers") / "migrations"
    config.set_main_option("script_location", str(location).replace("%", "%%"))
    return config


def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(configuration())


def _upgrade(connection: Connection, url: str) -> None:
    from alembic import command

    config = configuration()
    config.attributes["connection"] = connection
    try:
        with connection.begin():
            if connection.dialect.name == "postgresql":
                # Ledgers that start together: each but the first then finds nothing to do.
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            command.upgrade(config, "head")
    except SQLAlchemyError as error:
        raise unavailable(url, error) from error


def _accept(connection: Connection, url: str, tables: set[str]) -> None:
    """Raise SchemaError unless the tables are those of this release."""
    remedy = f"resonate-amqp ledger migrate --ledger {shown(url)}"
    if VERSION_TABLE not in tables:
        raise SchemaError(
            f"ledger {shown(url)} holds tables of something else "
            f"({', '.join(sorted(tables)[:3])}…) and none of a ledger; name an empty "
            f"database, or add the ledger's tables to this one: {remedy}"
        )
    found = _version(connection)
    if found != HEAD:
        raise SchemaError(
            f"ledger {shown(url)} has schema {found or 'none'}, this release needs {HEAD}: "
            f"stop every ledger service, then run {remedy}"
        )


def _version(connection: Connection) -> str:
    with connection.begin():
        row = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).first()
    return str(row[0]) if row else ""


@contextmanager
def _connected(url: str, *, reading: bool = False) -> Iterator[Connection]:
    connection = connect(url, patient=True, reading=reading)
    try:
        yield connection
    except SQLAlchemyError as error:
        raise unavailable(url, error) from error
    finally:
        connection.close()
        connection.engine.dispose()
