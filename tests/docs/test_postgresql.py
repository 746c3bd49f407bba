"""The how-to about PostgreSQL: its commands say what it says, its settings are in force."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from resonate_amqp.ledgers import postgres as driver
from resonate_amqp.ledgers import schema
from tests.docs.markdown import ROOT, blocks, sections, table
from tests.examples.programs import Programs, wait_until

PAGE = ROOT / "docs" / "how-to" / "postgresql.md"
STAMP = re.compile(r"^\S+ \S+ \w+\s+")


def commands(heading: str) -> list[str]:
    return [
        line
        for block in blocks(PAGE)
        if block.language == "sh" and block.heading == heading
        for line in block.text.splitlines()
    ]


def shown(heading: str) -> list[list[str]]:
    return [
        block.text.splitlines()
        for block in blocks(PAGE)
        if block.language == "text" and block.heading == heading
    ]


@pytest.fixture
def programs(vhost_url: str, postgres_url: str, tmp_path: Path) -> Iterator[Programs]:
    """The page's environment, with this test's own broker and database."""
    exported = [line.split("'")[0] for line in commands("Start") if line.startswith("export")]
    assert exported == ["export RESONATE_AMQP_URL=", "export RESONATE_AMQP_LEDGER="]
    made = Programs(tmp_path, RESONATE_AMQP_URL=vhost_url, RESONATE_AMQP_LEDGER=postgres_url)
    made.environment["PATH"] = f"{Path(sys.executable).parent}:{made.environment['PATH']}"
    yield made
    made.stop()


def says(programs: Programs, name: str, lines: list[str]) -> bool:
    said = [STAMP.sub("", line) for line in programs.log(name).splitlines()]
    return [line for line in said if line in lines] == lines


@pytest.mark.processes
def test_the_ledgers_say_what_the_page_says(programs: Programs) -> None:
    (command,) = (line for line in commands("Start") if not line.startswith("export"))
    for name, lines in zip(("first", "second"), shown("Start"), strict=True):
        programs.start(name, *shlex.split(command))
        wait_until(f"the {name} ledger says {lines}", partial(says, programs, name, lines))
    assert set(programs.stop().values()) == {0}


@pytest.mark.processes
def test_the_upgrade_leads_to_the_schema_of_this_release(programs: Programs) -> None:
    (command,) = commands("Upgrade")
    assert programs.start("migrate", *shlex.split(command)).wait() == 0
    assert schema.HEAD in programs.out("migrate")


@pytest.mark.postgres
def test_the_user_the_page_creates_can_keep_a_ledger(postgres_url: str) -> None:
    (statements,) = (block.text for block in blocks(PAGE) if block.language == "")
    role, database = statements.splitlines()
    owner = f"page_{postgres_url.rpartition('_')[2]}"
    with psycopg.connect(postgres_url, autocommit=True) as administrator:
        administrator.execute(role.replace("resonate", owner).encode())
        own = database.replace("DATABASE ledger", f"DATABASE {owner}").replace("resonate", owner)
        administrator.execute(own.encode())
        try:
            server = postgres_url.rpartition("@")[2].partition("/")[0]
            assert schema.prepare(f"postgresql://{owner}:secret@{server}/{owner}")
        finally:
            administrator.execute(f"DROP DATABASE {owner} WITH (FORCE)".encode())
            administrator.execute(f"DROP ROLE {owner}".encode())


def test_the_page_lists_the_settings_of_a_session() -> None:
    _, head, rest = sections(PAGE)["When something dies"].partition("| setting |")
    rows = table(head + rest)
    listed = {name.strip("`"): value.strip("`") for name, value in rows}
    limit = f"{driver.ANSWER_WITHIN_S:g}s"
    assert listed == driver.SESSION | {"statement_timeout": limit}
