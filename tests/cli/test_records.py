"""Commands that look, on the database itself: no broker, no ledger service, nothing written."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from resonate_amqp import Context, Resonate
from resonate_amqp.cli.main import cli
from resonate_amqp.errors import LedgerUnavailable, SchemaError, UsageError
from resonate_amqp.ledgers import sharding
from resonate_amqp.wire.address import shard_key


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An embedded system's file; whatever broker the environment names is not there."""
    monkeypatch.setenv("RESONATE_AMQP_URL", "amqp://127.0.0.1:1")
    return f"sqlite:///{tmp_path / 'app.db'}"


@pytest.fixture
def resonate(url: str) -> Iterator[Resonate]:
    """An embedded system at work on the file: one call has ended, one waits for a person."""
    with Resonate(ledger=url) as resonate:

        def shout(ctx: Context, name: str) -> str:
            return name.upper()

        @resonate.register
        def asks(ctx: Context, name: str):  # type: ignore[no-untyped-def]  # a body yields anything
            yield ctx.lfc(shout, name)
            promise = yield ctx.promise()
            return (yield promise)

        @resonate.register
        def add(ctx: Context, one: int, two: int) -> int:
            return one + two

        resonate.rpc("waits", asks, "ann")
        assert resonate.rpc("sum", add, 2, 3).result() == 5
        deadline = time.monotonic() + 20
        while len(resonate.tree("waits")) < 3:
            assert time.monotonic() < deadline
        yield resonate


def _run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments, "--ledger", url])


def test_a_file_that_an_embedded_system_is_using_is_read(resonate: Resonate, url: str) -> None:
    shown = _run(url, "tree", "waits:1")
    assert shown.exit_code == 0, shown.output
    first, *children = shown.output.splitlines()
    assert first.startswith("waits ")
    assert "asks" in first
    assert len(children) == 2
    shown = _run(url, "promises", "get", "sum", "--json")
    assert json.loads(shown.output)["decoded"] == 5
    resonate.promises.resolve("waits:2", "yes")
    assert resonate.get("waits").result() == "yes"
    assert "resolved" in _run(url, "promises", "get", "waits").output


def test_a_file_is_read_when_nothing_runs_and_stays_as_it_is(resonate: Resonate, url: str) -> None:
    resonate.tasks.halt("waits", "wrong item")
    resonate.stop()
    before = _run(url, "tree", "waits", "--json").output
    assert _run(url, "stuck").output == (
        "waits (asks) halted: waits for somebody to redrive it: wrong item\n"
    )
    assert _run(url, "tree", "waits", "--json").output == before
    (one,) = json.loads(_run(url, "stuck", "--json").output)
    assert one["id"] == "waits"
    assert "nothing" not in _run(url, "stuck", "--older", "0").output


def test_promises_are_found_by_a_tag_and_what_is_cut_says_so(resonate: Resonate, url: str) -> None:
    for number in range(3):
        resonate.promises.create(f"order-{number}", tags={"shop": "tea"})
    found = _run(url, "promises", "find", "--tag", "shop=tea").output.splitlines()
    assert [line.split()[0] for line in found] == ["order-0", "order-1", "order-2"]
    found = _run(url, "promises", "find", "--tag", "shop=tea", "--limit", "2").output.splitlines()
    assert "there are more than these 2: --limit N shows more" in " ".join(found)
    assert sum(line.startswith("order-") for line in found) == 2


def test_the_tasks_of_several_ledger_queues_are_one_list(resonate: Resonate, url: str) -> None:
    ids = [f"order-{number}" for number in range(8)]
    for one in ids:
        resonate.rpc(one, "asks", "bob")
        resonate.tasks.halt(one, "wrong item")
    resonate.stop()
    sharding.reshard(url, 2)
    owners = sharding.owners(url)
    assert len({owners[int(shard_key(one), 16)] for one in ids}) == 2, "all are in one queue"
    listed = _run(url, "stuck", "--json", "--limit", "5")
    assert [one["id"] for one in json.loads(listed.stdout)] == ids[:5]


def test_what_is_not_there_is_named(resonate: Resonate, url: str, tmp_path: Path) -> None:
    missing = _run(url, "promises", "get", "nobody")
    assert (missing.exit_code, missing.output) == (
        1,
        "error: promise 'nobody' does not exist\n",
    )
    assert _run(url, "tree", "nobody").exit_code == 1
    typo = _run(f"sqlite:///{tmp_path / 'other.db'}", "tree", "waits")
    assert isinstance(typo.exception, UsageError)
    assert "there is no file" in str(typo.exception)
    assert not (tmp_path / "other.db").exists()
    (tmp_path / "empty.db").touch()
    empty = _run(f"sqlite:///{tmp_path / 'empty.db'}", "stuck")
    assert isinstance(empty.exception, SchemaError)
    (tmp_path / "text.db").write_text("no database" * 500, encoding="utf-8")
    text = _run(f"sqlite:///{tmp_path / 'text.db'}", "stuck")
    assert isinstance(text.exception, LedgerUnavailable)


def test_a_file_of_something_else_is_refused_and_left_as_it_is(url: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE notes (text)")
        other.commit()
    before = path.read_bytes()
    found = _run(f"sqlite:///{path}", "stuck")
    assert isinstance(found.exception, SchemaError)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["notes.db"]


def test_a_broker_and_a_database_together_are_refused(url: str) -> None:
    both = _run(url, "stuck", "--broker", "amqp://localhost")
    assert (both.exit_code, "give either --broker or --ledger" in both.output) == (2, True)
