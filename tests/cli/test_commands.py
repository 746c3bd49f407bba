"""Commands as an operator runs them: output, JSON and exit codes, over a real broker."""

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
def add(ctx, one, other=0):
    return one + other


@resonate.register
def fails(ctx):
    raise ValueError("no stock")


@resonate.register
def asks(ctx):
    promise = yield ctx.promise()
    return (yield promise)
"""


@pytest.fixture
def shell(vhost_url: str, tmp_path: Path) -> Iterator[Shell]:
    """A ledger and a worker of a module, started from the command line."""
    (tmp_path / "shop.py").write_text(SERVICE, encoding="utf-8")
    shell = Shell(vhost_url, tmp_path)
    programs = [shell.start("ledger", "serve"), shell.start("worker", "run", "shop:resonate")]
    yield shell
    for program in programs:
        program.send_signal(signal.SIGTERM)
    for program in programs:
        _, errors = program.communicate(timeout=15)
        assert program.returncode == 0, errors


def test_call_promises_and_tree_show_and_settle(shell: Shell) -> None:
    assert shell.run("call", "add", "2", "3", "--target", "shop").stdout == "5\n"
    answer = shell.run("call", "add", '"a"', "b", "--target", "shop", "--id", "text", "--json")
    assert json.loads(answer.stdout) == {"id": "text", "result": "ab"}
    shown = shell.run("promises", "get", "text")
    assert "resolved" in shown.stdout
    assert '"ab"' in shown.stdout
    record = json.loads(shell.run("promises", "get", "text", "--json").stdout)
    assert record["state"] == "resolved"
    assert record["decoded"] == "ab"
    assert "text 🟢 (rpc add)" in shell.run("tree", "text").stdout

    failed = shell.run("call", "fails", "--target", "shop")
    assert (failed.returncode, failed.stdout) == (3, "")
    assert "ValueError: no stock" in failed.stderr

    late = shell.run("call", "asks", "--target", "shop", "--id", "asks", "--timeout", "0.5")
    assert late.returncode == 4
    assert "promises get asks" in late.stderr
    settled = shell.run("promises", "resolve", "asks:1", "--value", '{"ok": true}')
    assert settled.returncode == 0, settled.stderr
    assert shell.run("call", "asks", "--target", "shop", "--id", "asks").stdout == '{"ok": true}\n'
    again = shell.run("promises", "cancel", "asks:1")
    assert again.returncode == 1
    assert "is resolved already" in again.stderr
    missing = shell.run("promises", "get", "ghost")
    assert missing.returncode == 1
    assert "'ghost' does not exist" in missing.stderr
    assert shell.run("tree", "ghost").returncode == 1
    assert shell.run("call", "add", "--target", "poll://", "--id", "x").returncode == 2


def test_what_is_not_settled_is_shown_with_group_holder_and_age(shell: Shell) -> None:
    shell.run("call", "asks", "--target", "shop", "--id", "asks", "--timeout", "0.5")
    task = json.loads(shell.run("promises", "get", "asks", "--json").stdout)["task"]
    assert task["state"] == "acquired"
    top, below = shell.run("tree", "asks").stdout.splitlines()
    pid = task["pid"]
    assert re.fullmatch(rf"asks 🟡 \(rpc asks\) \[acquired by {pid}\] shop, \d+ s", top)
    assert re.fullmatch(r"└── asks:1 🟡 \(promise\) \d+ s", below)
    shown = shell.run("promises", "get", "asks").stdout
    assert re.search(r"^state +pending for \d+ s$", shown, re.MULTILINE)
    assert re.search(rf"^task +acquired by {pid}$", shown, re.MULTILINE)
    shell.run("promises", "resolve", "asks:1")
    assert " for " not in shell.run("promises", "get", "asks:1").stdout


def test_an_id_that_was_drawn_is_told_when_the_call_fails_or_takes_long(shell: Shell) -> None:
    failed = shell.run("call", "fails", "--target", "shop")
    assert failed.returncode == 3
    late = shell.run("call", "asks", "--target", "shop", "--timeout", "0.2")
    assert late.returncode == 4
    ids = [
        found[1]
        for done in (failed, late)
        if (found := re.search(r"^id: (call-[0-9a-f]{12})$", done.stderr, re.MULTILINE))
    ]
    assert [shell.run("promises", "get", one).returncode for one in ids] == [0, 0]
    shell.run("promises", "resolve", f"{ids[1]}:1")
    given = shell.run("call", "fails", "--target", "shop", "--id", "mine")
    assert "id:" not in given.stderr


def test_a_worker_says_at_its_start_whom_it_serves_with_what(shell: Shell) -> None:
    shell.run("call", "add", "1", "--target", "shop")
    worker = shell.start("worker", "run", "shop:resonate")
    assert worker.stderr is not None
    lines = iter(worker.stderr.readline, "")
    said = next(line for line in lines if "is served by" in line)
    assert re.search(r"group shop is served by [0-9a-f]{17}: add 1; asks 1; fails 1$", said)
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=15)


def test_a_missing_url_names_the_variable_that_may_hold_it(tmp_path: Path) -> None:
    shell = Shell("", tmp_path)
    del shell.environment["RESONATE_AMQP_URL"], shell.environment["RESONATE_AMQP_LEDGER"]
    for command, variable in (
        (("promises", "get", "x"), "RESONATE_AMQP_URL"),
        (("ledger", "migrate"), "RESONATE_AMQP_LEDGER"),
        (("relay", "--broker", "amqp://x"), "RESONATE_AMQP_DATABASE"),
    ):
        done = shell.run(*command)
        assert done.returncode == 2
        assert variable in done.stderr


def test_an_unreachable_broker_is_exit_69_and_names_url_and_remedy(tmp_path: Path) -> None:
    shell = Shell("amqp://guest:secret@127.0.0.1:1/", tmp_path)
    began = time.monotonic()
    done = shell.run("promises", "get", "x", "--request-timeout", "1")
    assert done.returncode == 69
    assert "was not reached within 1 s" in done.stderr
    assert "secret" not in done.stderr
    assert time.monotonic() - began < 10


def test_a_broker_without_a_ledger_is_exit_69_and_names_the_command(
    vhost_url: str, tmp_path: Path
) -> None:
    done = Shell(vhost_url, tmp_path).run("promises", "get", "x", "--request-timeout", "2")
    assert done.returncode == 69
    assert "resonate-amqp ledger serve" in done.stderr


def test_a_password_among_the_arguments_is_warned_about(tmp_path: Path) -> None:
    shell = Shell("", tmp_path)
    url = "amqp://guest:secret@127.0.0.1:1/"
    done = shell.run("promises", "get", "x", "--broker", url, "--request-timeout", "0.2")
    assert "visible in the list of processes" in done.stderr


def test_ledger_migrate_and_serve_speak_of_the_schema(tmp_path: Path) -> None:
    shell = Shell("amqp://guest:guest@127.0.0.1:1/", tmp_path)
    first = json.loads(shell.run("ledger", "migrate", "--json").stdout)
    assert first["before"] == ""
    assert "already" in shell.run("ledger", "migrate").stdout
    foreign = tmp_path / "foreign.db"
    foreign.write_bytes(b"this is no database" * 100)
    done = shell.run("ledger", "serve", "--ledger", f"sqlite:///{foreign}")
    assert done.returncode in (1, 69)
    assert "foreign.db" in done.stderr


def test_worker_run_names_what_it_cannot_find(tmp_path: Path) -> None:
    shell = Shell("amqp://guest:guest@127.0.0.1:1/", tmp_path)
    for where, problem in (
        ("nomodule:resonate", "cannot be imported"),
        ("os:path", "not a Resonate"),
        ("os", "MODULE:ATTR"),
    ):
        done = shell.run("worker", "run", where)
        assert done.returncode == 2
        assert problem in done.stderr


def test_help_is_there_for_every_command(tmp_path: Path) -> None:
    shell = Shell("", tmp_path)
    listed = shell.run("--help").stdout
    for noun in ("call", "demo", "dev", "ledger", "promises", "relay", "tree", "worker"):
        assert noun in listed
        assert shell.run(noun, "--help").returncode == 0
