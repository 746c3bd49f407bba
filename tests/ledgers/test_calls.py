"""The table of recorded calls: what is handed out, what is deleted, what stays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from resonate_amqp.core.requests import PromiseCreate
from resonate_amqp.errors import ResonateError
from resonate_amqp.ledgers import calls
from resonate_amqp.ledgers.calls import Outcome, Recorded

TABLE = calls.calls_table(sa.MetaData())


@pytest.fixture
def engine(new_url: str) -> Iterator[sa.Engine]:
    made = calls.open_engine(new_url)
    calls.create_table(made)
    calls.create_table(made)
    yield made
    made.dispose()


def record(engine: sa.Engine, *ids: str) -> None:
    with engine.begin() as connection:
        for promise_id in ids:
            create = PromiseCreate(id=promise_id, timeout_at=2, tags={"a": "b"})
            calls.add(connection, create, 1)


def left(engine: sa.Engine) -> dict[str, str | None]:
    with engine.connect() as connection:
        return {row.id: row.refused for row in connection.execute(TABLE.select())}


def test_rows_come_in_order_and_only_answered_ones_go(engine: sa.Engine) -> None:
    record(engine, "c", "a", "b", "d")
    outcomes: dict[str, Outcome] = {"c": "", "a": None, "b": "no"}

    def send(rows: Sequence[Recorded]) -> list[Outcome]:
        assert [row.id for row in rows] == ["c", "a", "b"]
        assert rows[0].read() == PromiseCreate(id="c", timeout_at=2, tags={"a": "b"})
        return [outcomes[row.id] for row in rows]

    assert calls.forward(engine, 3, send) == 3
    assert left(engine) == {"a": None, "b": "no", "d": None}
    again: list[str] = []

    def keep(rows: Sequence[Recorded]) -> list[Outcome]:
        again.extend(row.id for row in rows)
        return [None for _ in rows]

    assert calls.forward(engine, 3, keep) == 2
    assert again == ["a", "d"]


def test_a_failure_while_sending_keeps_every_row(engine: sa.Engine) -> None:
    record(engine, "a", "b")

    def fail(_rows: Sequence[Recorded]) -> list[Outcome]:
        raise ResonateError("stopped")

    with pytest.raises(ResonateError, match="stopped"):
        calls.forward(engine, 3, fail)
    assert left(engine) == {"a": None, "b": None}


def test_two_relays_share_the_rows_or_send_the_same_and_lose_none(engine: sa.Engine) -> None:
    record(engine, "a", "b", "c")
    seen: list[list[str]] = []

    def other(rows: Sequence[Recorded]) -> list[Outcome]:
        seen.append([row.id for row in rows])
        return ["" for _ in rows]

    def first(rows: Sequence[Recorded]) -> list[Outcome]:
        seen.append([row.id for row in rows])
        calls.forward(engine, 2, other)
        record(engine, "d")
        return ["" for _ in rows]

    calls.forward(engine, 2, first)
    shared = engine.dialect.name == "postgresql"
    assert seen == [["a", "b"], ["c"] if shared else ["a", "b"]]
    assert set(left(engine)) == ({"d"} if shared else {"c", "d"})


def test_a_later_row_with_the_serial_of_a_deleted_one_is_not_deleted(tmp_path: Path) -> None:
    """SQLite gives the highest serial again; PostgreSQL never does."""
    engine = calls.open_engine(f"sqlite:///{tmp_path / 'app.db'}")
    calls.create_table(engine)
    record(engine, "a")

    def other(rows: Sequence[Recorded]) -> list[Outcome]:
        return ["" for _ in rows]

    def first(rows: Sequence[Recorded]) -> list[Outcome]:
        calls.forward(engine, 1, other)
        record(engine, "b")
        return other(rows)

    calls.forward(engine, 1, first)
    assert left(engine) == {"b": None}
    engine.dispose()


@pytest.mark.parametrize("url", ["nonsense", "unknown://host/name"])
def test_a_url_that_cannot_be_used_is_refused_at_once(url: str) -> None:
    with pytest.raises(ResonateError, match="database"):
        calls.open_engine(url)
