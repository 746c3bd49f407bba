"""A pool whose processes do not live: what it passes on, when it tries again, when it ends."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from tests.cli.shell import Shell

pytestmark = pytest.mark.processes

URL = "amqp://guest:secret@127.0.0.1:1/"

TELLS = """
import json, os, pathlib
line = pathlib.Path("/proc/self/cmdline").read_text().split(chr(0))
own = [os.environ[f"RESONATE_AMQP_{name}"] for name in ("URL", "GROUP", "PID")]
pathlib.Path(f"told-{own[2]}").write_text(json.dumps([own, line]))
from resonate_amqp import Resonate
resonate = Resonate()
"""

DIES = """
import os, pathlib
with pathlib.Path("starts").open("a") as starts:
    starts.write("x")
os._exit(7)
"""


def test_a_pool_none_of_whose_processes_finds_the_module_ends_with_exit_code_2(
    tmp_path: Path,
) -> None:
    done = Shell(URL, tmp_path).run("worker", "run", "nomodule:resonate", "--processes", "2")
    assert done.returncode == 2
    assert "cannot be imported" in done.stderr
    assert "the pool ends" in done.stderr


def test_a_process_that_dies_young_is_started_again_later_and_later(tmp_path: Path) -> None:
    (tmp_path / "dies.py").write_text(DIES, encoding="utf-8")
    pool = Shell(URL, tmp_path).start("worker", "run", "dies:resonate", "--processes", "1")
    deadline = time.monotonic() + 20
    starts = tmp_path / "starts"
    while not starts.exists() or len(starts.read_text()) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pool.send_signal(signal.SIGTERM)
    _, errors = pool.communicate(timeout=15)
    waits = [line.rpartition("again in ")[2] for line in errors.splitlines() if "again in" in line]
    assert waits[:2] == ["1 s", "2 s"]
    assert "ended with exit code 7" in errors


def test_urls_reach_the_processes_by_environment_only_and_each_has_a_pid_of_its_own(
    tmp_path: Path,
) -> None:
    (tmp_path / "tells.py").write_text(TELLS, encoding="utf-8")
    shell = Shell("", tmp_path)
    shell.environment["RESONATE_AMQP_PID"] = "w"
    given = ("--broker", URL, "--group", "shop", "--log-level", "warning")
    pool = shell.start("worker", "run", "tells:resonate", "--processes", "2", *given)
    deadline = time.monotonic() + 20
    while len(list(tmp_path.glob("told-*"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pool.send_signal(signal.SIGTERM)
    _, errors = pool.communicate(timeout=15)
    assert pool.returncode == 0, errors
    assert "visible in the list of processes" in errors
    for pid in ("w-1", "w-2"):
        own, line = json.loads((tmp_path / f"told-{pid}").read_text())
        assert own == [URL, "shop", pid]
        words = [*line[line.index("worker") :]]
        assert words[:-1] == [
            "worker",
            "run",
            "tells:resonate",
            "--group=shop",
            "--log-level=warning",
        ]
