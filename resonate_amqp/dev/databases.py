"""Databases for tests on a PostgreSQL server: one for whoever asks, removed when given back."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from resonate_amqp.errors import LedgerUnavailable
from resonate_amqp.settings import PREFIX

TEST_LEDGER = PREFIX + "TEST_LEDGER"

_TIMEOUT_S = 10


class Databases:
    """Makes and drops databases on the server behind `url`, whose user must be allowed to."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("postgresql+psycopg:", "postgresql:", 1)
        self._created: set[str] = set()

    def create(self, template: str = "") -> str:
        """The url of a database nobody used before; a copy of the one at `template`, if given.

        Raises LedgerUnavailable when the server does not answer or refuses.
        """
        name = f"resonate_{secrets.token_hex(6)}"
        source = _name(template) if template else "template0"
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}" ENCODING \'UTF8\'')
        self._created.add(name)
        return urlsplit(self._url)._replace(path=f"/{name}").geturl()

    def drop(self, url: str) -> None:
        """Remove a database made here, even while it is in use; any other is left alone."""
        name = _name(url)
        if name in self._created:
            self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            self._created.remove(name)

    def drop_all(self) -> None:
        """Remove every database made here."""
        for name in sorted(self._created):
            self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        self._created.clear()

    def _execute(self, statement: str) -> None:
        import psycopg

        try:
            with psycopg.connect(
                self._url, autocommit=True, connect_timeout=_TIMEOUT_S
            ) as connection:
                connection.execute(statement.encode())
        except psycopg.Error as error:
            where = urlsplit(self._url).hostname
            raise LedgerUnavailable(
                f"no database can be made or dropped on the PostgreSQL server at {where}: "
                f"{str(error).strip()}; its user needs the right CREATEDB"
            ) from error


class ForeignPostgres:
    """A PostgreSQL server that somebody else runs: ours is only what we create on it."""

    def __init__(self, url: str) -> None:
        if not url.startswith("postgres"):
            raise LedgerUnavailable(
                f"{TEST_LEDGER} is no url of a PostgreSQL server; "
                "write postgresql://USER@HOST/NAME, or leave it unset"
            )
        self._url = url
        self._databases = Databases(url)

    @property
    def url(self) -> str:
        """The url as it was given."""
        return self._url

    def new_database(self, template: str = "") -> str:
        """The url of a database nobody used before; a copy of the one at `template`, if given."""
        return self._databases.create(template)

    def discard_database(self, url: str) -> None:
        """Remove what `new_database` made; a database that it did not make is left alone."""
        self._databases.drop(url)

    def stop(self) -> None:
        """Remove every database made here; the server goes on."""
        self._databases.drop_all()


def named_postgres(environ: Mapping[str, str] = os.environ) -> ForeignPostgres | None:
    """The server of RESONATE_AMQP_TEST_LEDGER, when that is set."""
    url = environ.get(TEST_LEDGER, "")
    return ForeignPostgres(url) if url else None


def _name(url: str) -> str:
    return unquote(urlsplit(url).path.removeprefix("/"))
