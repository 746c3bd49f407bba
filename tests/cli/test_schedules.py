"""The commands about schedules, as an operator runs them over a real broker."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shell import Shell

pytestmark = pytest.mark.processes

SERVICE = """
from resonate_amqp import Resonate

resonate = Resonate(group="shop", grace=1)


@resonate.cron("0 0 1 1 *", id="yearly")
def tidy(ctx):
    return "tidied"
"""
WAIT_S = 20


@pytest.fixture
def shell(vhost_url: str, tmp_path: Path) -> Iterator[Shell]:
    """A ledger, and a worker whose module declares a schedule."""
    (tmp_path / "shop.py").write_text(SERVICE, encoding="utf-8")
    shell = Shell(vhost_url, tmp_path)
    programs = [shell.start("ledger", "serve"), shell.start("worker", "run", "shop:resonate")]
    yield shell
    for program in programs:
        program.send_signal(signal.SIGTERM)
    for program in programs:
        _, errors = program.communicate(timeout=15)
        assert program.returncode == 0, errors


def test_a_declared_schedule_is_shown_triggered_paused_and_deleted(shell: Shell) -> None:
    deadline = time.monotonic() + WAIT_S
    while "yearly" not in (listed := shell.run("schedules", "list")).stdout:
        assert time.monotonic() < deadline, listed
    words = listed.stdout.split()
    assert words[0] == "yearly"
    assert words[1].endswith("-01-01T00:00:00.000Z")
    assert listed.stdout.endswith("(0 0 1 1 *) tidy at poll://any@shop\n")

    called = shell.run("schedules", "trigger", "yearly", "--json")
    promise_id = json.loads(called.stdout)["id"]
    assert promise_id.startswith("yearly.")
    while '"tidied"' not in shell.run("promises", "get", promise_id).stdout:
        assert time.monotonic() < deadline
    again = shell.run("schedules", "trigger", "yearly", "--id", promise_id)
    assert again.stdout == f"{promise_id}\n"
    wrong = shell.run("schedules", "trigger", "yearly", "--id", "mine")
    assert (wrong.returncode, "15 characters" in wrong.stderr) == (2, True)

    assert "next      paused" in shell.run("schedules", "pause", "yearly").stdout
    assert "yearly paused" in shell.run("schedules", "list").stdout
    record = json.loads(shell.run("schedules", "get", "yearly", "--json").stdout)
    assert (record["paused"], record["promiseTimeout"]) == (True, 86_400_000)
    assert "timeout   86400 s" in shell.run("schedules", "resume", "yearly").stdout

    assert shell.run("schedules", "delete", "yearly").stdout == "yearly deleted\n"
    assert json.loads(shell.run("schedules", "list", "--json").stdout) == []
    for command in ("get", "pause", "resume", "trigger", "delete"):
        missing = shell.run("schedules", command, "yearly")
        assert (missing.returncode, missing.stdout) == (1, "")
        assert "schedule 'yearly' does not exist" in missing.stderr
