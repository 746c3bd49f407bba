"""`create_in`: a call is sent if, and only if, the transaction it was recorded in commits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import Field, SQLModel
from sqlmodel import Session as SQLModelSession

from resonate_amqp import Context, Resonate, UnknownFunction, UsageError
from resonate_amqp.ledgers.calls import calls_table

WAIT_S = 10
CALLS = calls_table(sa.MetaData())


class Order(SQLModel, table=True):
    """What the application itself keeps."""

    __tablename__ = "orders"
    id: int | None = Field(default=None, primary_key=True)
    item: str


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    """The application's database, with both tables."""
    made = sa.create_engine(f"sqlite:///{tmp_path / 'app.db'}")
    SQLModel.metadata.create_all(made)
    Resonate().create_calls_table(made)
    yield made
    made.dispose()


def until(what: str, condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen: {what}"
        time.sleep(0.01)


def rows(engine: sa.Engine) -> list[sa.Row[Any]]:
    with engine.connect() as connection:
        return list(connection.execute(CALLS.select().order_by(CALLS.c.serial)))


def recording(resonate: Resonate) -> list[str]:
    """Register `ship`; the answer collects what it was called with, in order."""
    shipped: list[str] = []

    @resonate.register
    def ship(_ctx: Context, item: str) -> str:
        shipped.append(item)
        return f"shipped {item}"

    return shipped


@pytest.mark.parametrize("kind", ["session", "sqlmodel", "connection"])
def test_a_call_is_sent_once_its_transaction_has_committed(
    resonate: Resonate, engine: sa.Engine, kind: str
) -> None:
    shipped = recording(resonate)
    resonate.relay(engine)
    opened: Any = {
        "session": lambda: Session(engine),
        "sqlmodel": lambda: SQLModelSession(engine),
        "connection": engine.connect,
    }[kind]
    with opened() as transaction:
        transaction.execute(sa.insert(SQLModel.metadata.tables["orders"]).values(item="book"))
        resonate.create_in(transaction, "order-1", "ship", "book")
        with pytest.raises(UsageError, match="does not exist"):
            resonate.get("order-1")
        transaction.commit()
    until("it was sent", lambda: not rows(engine))
    assert resonate.get("order-1").result(WAIT_S) == "shipped book"
    assert shipped == ["book"]


def test_nothing_is_sent_after_a_rollback(resonate: Resonate, engine: sa.Engine) -> None:
    shipped = recording(resonate)
    with SQLModelSession(engine) as session:
        session.add(Order(item="book"))
        resonate.create_in(session, "order-1", "ship", "book")
        session.flush()
        session.rollback()
        resonate.create_in(session, "order-2", "ship", "pen")
        session.commit()
    resonate.relay(engine)
    until("it was sent", lambda: not rows(engine))
    assert resonate.get("order-2").result(WAIT_S) == "shipped pen"
    assert shipped == ["pen"]
    with pytest.raises(UsageError, match="does not exist"):
        resonate.get("order-1")


def test_recording_a_call_connects_to_nothing(engine: sa.Engine) -> None:
    resonate = Resonate(url="amqp://127.0.0.1:1/", group="shop")
    before = set(threading.enumerate())
    with Session(engine) as session:
        resonate.options(target="poll://any@stock").create_in(session, "order-1", "ship", "book")
        session.commit()
    assert set(threading.enumerate()) <= before
    assert [row.id for row in rows(engine)] == ["order-1"]
    resonate.stop()


def test_options_count_and_a_name_without_a_target_is_refused(
    resonate: Resonate, engine: sa.Engine
) -> None:
    recording(resonate)
    relay = resonate.relay(engine)
    with Session(engine) as session:
        with pytest.raises(UnknownFunction):
            resonate.create_in(session, "order-1", "elsewhere", "book")
        called = resonate.options(target="stock", timeout=60, tags={"shop": "north"})
        called.create_in(session, "order-1", "elsewhere", "book")
        session.commit()
    until("it was sent", lambda: not rows(engine))
    promise = resonate.promises.get("order-1")
    assert promise.target == "poll://any@stock"
    assert promise.tags["shop"] == "north"
    assert 0 < promise.timeout_at - promise.created_at <= 60_000
    relay.stop()


def test_each_of_many_calls_is_sent_and_the_same_id_is_the_same_execution(
    engine: sa.Engine,
) -> None:
    with Resonate(group="g", grace=1) as resonate:
        shipped = recording(resonate)
        with Session(engine) as session:
            for number in range(250):
                resonate.create_in(session, f"order-{number}", "ship", str(number))
                resonate.create_in(session, "order-0", "ship", "0")
            session.commit()
        resonate.relay(engine)
        resonate.relay(engine)
        until("all were sent", lambda: not rows(engine))
        until("all were shipped", lambda: len(shipped) >= 250)
        assert sorted(shipped, key=int) == [str(number) for number in range(250)]


def test_a_refused_call_is_kept_with_the_reason_and_holds_up_no_other(
    resonate: Resonate, engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    shipped = recording(resonate)
    with Session(engine) as session:
        for promise_id in ("unreadable", "wrong", "order-1"):
            resonate.create_in(session, promise_id, "ship", promise_id)
        session.execute(CALLS.update().where(CALLS.c.id == "unreadable").values(request="{"))
        timer = sa.func.replace(
            CALLS.c.request, '"resonate:scope":"global"', '"resonate:timer":"true"'
        )
        session.execute(CALLS.update().where(CALLS.c.id == "wrong").values(request=timer))
        session.commit()
    resonate.relay(engine)
    until("the good one was shipped", lambda: shipped == ["order-1"])
    until("the others are left", lambda: all(row.refused for row in rows(engine)))
    kept = {row.id: row.refused for row in rows(engine)}
    assert set(kept) == {"unreadable", "wrong"}
    assert "timer" in kept["wrong"]
    assert "call 'wrong' was refused" in caplog.text


def test_a_missing_table_is_named_with_its_remedy(resonate: Resonate, tmp_path: Path) -> None:
    recording(resonate)
    bare = sa.create_engine(f"sqlite:///{tmp_path / 'bare.db'}")
    with Session(bare) as session, pytest.raises(UsageError, match="create_calls_table"):
        resonate.create_in(session, "order-1", "ship", "book")
    with pytest.raises(UsageError, match="create_calls_table"):
        resonate.relay(bare)
    bare.dispose()


class AsyncSession:
    """What SQLAlchemy's own offers; that one needs greenlet even to be imported."""

    async def run_sync(self, _work: Callable[[Session], None]) -> None: ...


def test_an_async_session_is_named_with_its_remedy(resonate: Resonate) -> None:
    recording(resonate)
    session: Any = AsyncSession()
    with pytest.raises(UsageError, match=r"AsyncSession .*run_sync"):
        resonate.create_in(session, "order-1", "ship", "book")


def test_a_relay_waits_for_its_database_and_says_so_once(
    resonate: Resonate, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shipped = recording(resonate)
    folder = tmp_path / "later"
    engine = sa.create_engine(f"sqlite:///{folder / 'app.db'}")
    relay = resonate.relay(engine)
    folder.mkdir()
    resonate.create_calls_table(engine)
    with Session(engine) as session:
        resonate.create_in(session, "order-1", "ship", "book")
        session.commit()
    until("it was shipped", lambda: shipped == ["book"])
    relay.stop()
    engine.dispose()
    assert caplog.text.count("recorded calls wait: database sqlite:///") == 1
