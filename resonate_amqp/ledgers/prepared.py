"""Prepared: a Core statement compiled once, run with rows of plain values.

SQLAlchemy builds the parameters of every row anew at each execution, which costs as much as the
rest of a batch; here a row is a dict that goes to the driver as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql import ClauseElement

Row = dict[str, Any]


class Prepared:
    """Compiles lazily, per dialect; the values of a row are what the driver takes."""

    def __init__(self, statement: ClauseElement) -> None:
        self._statement = statement
        self._compiled: dict[str, tuple[str, tuple[str, ...] | None]] = {}

    def run(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Execute for every row; nothing for none."""
        if not rows:
            return
        text, order = self._for(connection)
        if order is None:
            connection.exec_driver_sql(text, list(rows))
        else:
            values = [tuple([row[name] for name in order]) for row in rows]
            connection.exec_driver_sql(text, values if len(values) > 1 else values[0])

    def _for(self, connection: Connection) -> tuple[str, tuple[str, ...] | None]:
        dialect = connection.dialect
        found = self._compiled.get(dialect.name)
        if found is None:
            assert isinstance(dialect, DefaultDialect)
            compiled = self._statement.compile(dialect=dialect)
            positions = getattr(compiled, "positiontup", None)
            found = (str(compiled), tuple(positions) if positions else None)
            self._compiled[dialect.name] = found
        return found
