"""`stuck` and `tasks` as an operator uses them: output, JSON and exit codes."""

from __future__ import annotations

import json
import re
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


@resonate.register
def pack(ctx, item):
    return f"packed {item}"
"""


@pytest.fixture
def shell(vhost_url: str, tmp_path: Path) -> Iterator[Shell]:
    """A ledger, and a module that somebody may serve."""
    (tmp_path / "shop.py").write_text(SERVICE, encoding="utf-8")
    shell = Shell(vhost_url, tmp_path)
    ledger = shell.start("ledger", "serve")
    yield shell
    ledger.send_signal(signal.SIGTERM)
    _, errors = ledger.communicate(timeout=15)
    assert ledger.returncode == 0, errors


def test_a_task_that_waits_is_listed_halted_redriven_and_done(shell: Shell) -> None:
    assert shell.run("call", "pack", "tea", "--target", "shop", "--id", "a", "--no-wait").stdout
    quiet = shell.run("stuck")
    assert quiet.stdout == "nothing is halted, and nothing has waited for 5 min\n"
    listed = shell.run("stuck", "--older", "0").stdout
    pending = r"a \(pack\) pending for \d+ s: waits for a worker that takes it from resonate.any"
    assert re.match(pending, listed), listed

    halted = shell.run("tasks", "halt", "a", "--reason", "wrong item")
    assert (halted.returncode, halted.stdout) == (0, "a halted\n")
    listed = shell.run("stuck").stdout
    assert listed == "a (pack) halted: waits for somebody to redrive it: wrong item\n"
    (one,) = json.loads(shell.run("stuck", "--json").stdout)
    assert one == {
        "id": "a",
        "state": "halted",
        "function": "pack",
        "since": None,
        "waits_for": "somebody to redrive it: wrong item",
    }

    task = json.loads(shell.run("tasks", "redrive", "a", "--json").stdout)
    assert (task["id"], task["state"]) == ("a", "pending")
    (one,) = json.loads(shell.run("stuck", "--older", "0", "--json").stdout)
    assert abs(one["since"] / 1000 - time.time()) < 60
    worker = shell.start("worker", "run", "shop:resonate")
    done = shell.run("call", "pack", "tea", "--target", "shop", "--id", "a")
    assert done.stdout == '"packed tea"\n'
    assert shell.run("stuck", "--older", "0").stdout.startswith("nothing is halted")
    for what in ("redrive", "halt"):
        settled = shell.run("tasks", what, "a")
        assert settled.returncode == 1
        assert "is fulfilled" in settled.stderr
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=15)


def test_a_task_that_there_is_none_of_is_exit_1_and_no_id_is_exit_2(shell: Shell) -> None:
    for what in ("redrive", "halt"):
        missing = shell.run("tasks", what, "ghost")
        assert missing.returncode == 1
        assert "task 'ghost' does not exist" in missing.stderr
        assert shell.run("tasks", what, "a\nb").returncode == 2
    assert shell.run("stuck", "--older", "-1").returncode == 2
    assert shell.run("stuck", "--limit", "0").returncode == 2


def test_no_more_than_the_limit_is_listed_the_halted_first_and_a_cut_is_told(shell: Shell) -> None:
    for name in ("a", "b", "c"):
        shell.run("call", "pack", "tea", "--target", "shop", "--id", name, "--no-wait")
    shell.run("tasks", "halt", "c")
    cut = shell.run("stuck", "--older", "0", "--limit", "2", "--json")
    assert [one["id"] for one in json.loads(cut.stdout)] == ["c", "a"]
    assert cut.stderr == "there are more than these 2: --limit N shows more\n"
    whole = shell.run("stuck", "--older", "0", "--limit", "3", "--json")
    assert (len(json.loads(whole.stdout)), whole.stderr) == (3, "")


def test_without_a_ledger_nothing_is_listed_and_the_exit_code_says_so(
    vhost_url: str, tmp_path: Path
) -> None:
    shell = Shell(vhost_url, tmp_path)
    for command in (("stuck",), ("tasks", "redrive", "a"), ("tasks", "halt", "a")):
        done = shell.run(*command, "--request-timeout", "1")
        assert (done.returncode, done.stdout) == (69, "")
        assert "resonate-amqp ledger serve" in done.stderr
