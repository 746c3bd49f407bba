"""The how-to about what waits: its commands run, in order, and print what the page says."""

from __future__ import annotations

import re
import shlex
import signal
import time
from pathlib import Path

import pytest

from tests.cli.shell import Shell
from tests.docs.markdown import ROOT, blocks

pytestmark = pytest.mark.processes

PAGE = ROOT / "docs" / "how-to" / "repair.md"
SERVICE = """
import time
from pathlib import Path

from resonate_amqp import Resonate

resonate = Resonate(group="shop", grace=1)


@resonate.register
def pack(ctx):
    Path("packing").touch()
    while not Path("packed").exists():
        time.sleep(0.01)
"""
CALLS = {"order-3": ("pack", "shop"), "order-7": ("pack", "store"), "order-9": ("unpack", "shop")}


def timeless(text: str) -> str:
    """A text in which neither durations nor holders differ."""
    return re.sub(r"holder \w+", "holder P", re.sub(r"for [\w ]+: ", "for T: ", text))


def test_the_page_prints_what_it_says(vhost_url: str, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SERVICE, encoding="utf-8")
    shell = Shell(vhost_url, tmp_path)
    # A function that is unknown is not waited for.
    shell.environment["RESONATE_AMQP_MAX_DELIVERIES"] = "0"
    programs = [shell.start("ledger", "serve"), shell.start("worker", "run", "shop:resonate")]
    for promise_id, (function, group) in CALLS.items():
        done = shell.run("call", function, "--target", group, "--id", promise_id, "--no-wait")
        assert done.returncode == 0, done.stderr
    deadline = time.monotonic() + 20
    while not (tmp_path / "packing").exists() or " halted" not in shell.run("stuck").stdout:
        assert time.monotonic() < deadline
    printed, shown = "", 0
    for block in blocks(PAGE):
        if block.language == "sh":
            done = shell.run(*shlex.split(block.text)[1:])
            assert done.returncode == 0, done.stderr
            printed = done.stdout
        elif block.language == "text":
            assert timeless(printed) == timeless(block.text), f"line {block.line}"
            shown += 1
    assert shown == 4
    (tmp_path / "packed").touch()
    for program in reversed(programs):
        program.send_signal(signal.SIGTERM)
        _, errors = program.communicate(timeout=15)
        assert program.returncode == 0, errors
