"""The private PostgreSQL: it takes connections, survives its crash, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from resonate_amqp.dev.databases import TEST_LEDGER, ForeignPostgres, named_postgres
from resonate_amqp.dev.postgres import PrivatePostgres, Programs, find
from resonate_amqp.errors import LedgerUnavailable

OWNER = """
import sys, time
from resonate_amqp.dev.postgres import PrivatePostgres
server = PrivatePostgres()
server.start()
sys.stdout.write(f"{server.pid}\\n")
sys.stdout.flush()
if sys.argv[1] == "wait":
    time.sleep(60)
"""

Server = PrivatePostgres | ForeignPostgres


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that any user may enter, as the one for tests is not."""
    with tempfile.TemporaryDirectory() as made:
        path = Path(made)
        path.chmod(0o755)
        yield path


def test_each_database_is_new_and_empty(postgres: Server) -> None:
    first, second = postgres.new_database(), postgres.new_database()
    assert first != second
    _execute(first, "CREATE TABLE letters (body text)")
    assert _tables(second) == []
    for url in (first, second):
        postgres.discard_database(url)


def test_a_database_may_begin_as_a_copy_of_another(postgres: Server) -> None:
    first = postgres.new_database()
    _execute(first, "CREATE TABLE letters (body text)")
    second = postgres.new_database(first)
    assert _tables(second) == [("letters",)]
    for url in (first, second):
        postgres.discard_database(url)


def test_a_discarded_database_is_gone_even_while_somebody_uses_it(postgres: Server) -> None:
    url = postgres.new_database()
    with psycopg.connect(url):
        postgres.discard_database(url)
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            _tables(url)


def test_a_named_server_keeps_what_was_not_made_here(postgres: Server) -> None:
    theirs = postgres.new_database()
    named = named_postgres({TEST_LEDGER: theirs})
    assert named is not None
    ours = named.new_database()
    named.discard_database(theirs)
    named.stop()
    assert _tables(theirs) == []
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        _tables(ours)
    postgres.discard_database(theirs)


def test_a_user_who_may_make_no_database_is_told_which_right_is_missing(postgres: Server) -> None:
    url = postgres.new_database()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE ROLE nobody_special")
    limited = ForeignPostgres(f"{url}?options=-c%20role%3Dnobody_special")
    with pytest.raises(
        LedgerUnavailable, match=r"permission denied(.|\n)*needs the right CREATEDB"
    ):
        limited.new_database()
    with psycopg.connect(url) as connection:
        connection.execute("DROP ROLE nobody_special")
    postgres.discard_database(url)


def test_without_a_named_server_there_is_none() -> None:
    assert named_postgres({}) is None


def test_a_name_that_leads_to_no_postgresql_is_refused() -> None:
    with pytest.raises(LedgerUnavailable, match=r"write postgresql://USER@HOST/NAME"):
        named_postgres({TEST_LEDGER: "sqlite:///ledger.db"})


@pytest.mark.postgres
@pytest.mark.processes
def test_what_was_committed_survives_a_crash_and_a_restart() -> None:
    with PrivatePostgres(configuration="max_connections = 17") as server:
        url = server.new_database()
        _execute(url, "CREATE TABLE letters (body text)")
        with psycopg.connect(url) as cut_off:
            server.kill()
            assert not server.running
            server.start()
            with pytest.raises(psycopg.OperationalError):
                cut_off.execute("SELECT 1")
        assert _tables(url) == [("letters",)]
        server.restart()
        assert _tables(url) == [("letters",)]
        with psycopg.connect(url) as connection:
            assert connection.execute("SHOW max_connections").fetchall() == [("17",)]
        home = server._home()
    assert not server.running
    assert not home.exists()


@pytest.mark.postgres
@pytest.mark.processes
def test_a_server_started_by_root_is_not_roots() -> None:
    with PrivatePostgres() as server:
        owner = Path(f"/proc/{server.pid}").stat().st_uid
    assert owner != 0
    assert os.geteuid() in (0, owner)


@pytest.mark.postgres
@pytest.mark.processes
@pytest.mark.parametrize("end", ["returns", "is killed"])
def test_a_server_ends_with_its_owner(end: str, place: Path) -> None:
    command = [sys.executable, "-c", OWNER, "wait" if end == "is killed" else "return"]
    environment = os.environ | {"TMPDIR": str(place)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        if end == "is killed":
            assert _alive(pid)
            os.kill(owner.pid, signal.SIGKILL)
    _until(lambda: not _alive(pid) and not any(place.iterdir()))


def test_a_setup_that_fails_is_reported_with_its_last_words(place: Path) -> None:
    programs = _imitation(place, initdb="echo 'no space left'; exit 1")
    with pytest.raises(LedgerUnavailable, match=r"set up by initdb(.|\n)*no space left"):
        PrivatePostgres(programs=programs).start()


def test_a_server_that_ends_at_once_is_reported_with_its_last_words(place: Path) -> None:
    server = PrivatePostgres(programs=_imitation(place, server="echo 'no more memory'; exit 1"))
    with pytest.raises(LedgerUnavailable, match=r"ended before(.|\n)*no more memory"):
        server.start()
    assert not server.running


def test_a_server_that_stays_silent_is_given_up(place: Path) -> None:
    programs = _imitation(place, server='echo $$ >"$2/server.pid"; exec sleep 30')
    server = PrivatePostgres(programs=programs, start_timeout=0.3)
    with pytest.raises(LedgerUnavailable, match=r"no connection within 0\.3 s"):
        server.start()
    assert not server.running


def test_the_process_id_of_a_stopped_server_is_an_error(place: Path) -> None:
    server = PrivatePostgres(programs=_imitation(place))
    with pytest.raises(LedgerUnavailable, match=r"call start\(\) first"):
        _ = server.pid


def test_a_missing_program_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LedgerUnavailable, match=r"PostgreSQL is not installed here.*make system"):
        find(place=tmp_path)


@pytest.mark.parametrize(("releases", "chosen"), [(["9.6", "15"], "15"), (["15", "16"], "16")])
def test_the_latest_release_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, releases: list[str], chosen: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for release in releases:
        (tmp_path / release / "bin").mkdir(parents=True)
        for name in ("postgres", "initdb"):
            _program(tmp_path / release / "bin" / name, "exit 0")
    assert find(place=tmp_path).server == tmp_path / chosen / "bin" / "postgres"


def _imitation(place: Path, *, server: str = "exit 0", initdb: str = "") -> Programs:
    return Programs(
        server=_program(place / "postgres", server),
        initdb=_program(place / "initdb", initdb or 'mkdir "$2"'),
    )


def _program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    path.chmod(0o755)
    return path


def _execute(url: str, statement: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statement.encode())


def _tables(url: str) -> list[tuple[str, ...]]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return rows.fetchall()


def _alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _until(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
