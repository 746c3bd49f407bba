"""The tutorial: every block runs, in order, and prints what the page says."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.markdown import ROOT, Block, blocks
from tests.examples.programs import WAIT_S, Programs, wait_until

PAGE = ROOT / "docs" / "tutorial" / "first-durable-call.md"
SECOND_PART = "Part 2: several processes"
EXPORT = re.compile(r"export (RESONATE_AMQP_URL)='([^']+)'")


def _parts() -> tuple[list[Block], list[Block]]:
    """The blocks of part 1 without the installation, and those of part 2."""
    found = blocks(PAGE)
    second = next(n for n, block in enumerate(found) if block.heading == SECOND_PART)
    first = next(n for n, block in enumerate(found) if block.language == "python")
    return found[first:second], found[second:]


def test_the_first_part_prints_what_it_says() -> None:
    names: dict[str, Any] = {"__name__": "tutorial"}
    printed = ""
    checked = 0
    for block in _parts()[0]:
        if block.language == "python":
            assert printed == "", f"line {block.line}: the page does not show {printed!r}"
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(block.text, f"{PAGE.name}:{block.line}", "exec"), names)
            printed = out.getvalue()
        else:
            assert printed == block.text, f"line {block.line}"
            printed = ""
            checked += 1
    assert checked == 7


@pytest.mark.processes
def test_the_second_part_prints_what_it_says(vhost_url: str, tmp_path: Path) -> None:
    programs = Programs(tmp_path, RESONATE_AMQP_TEST_URL=vhost_url)
    programs.environment["PATH"] = f"{Path(sys.executable).parent}:{programs.environment['PATH']}"
    last = ""
    shown = 0
    try:
        for block in _parts()[1]:
            if block.language == "python":
                (tmp_path / block.title).write_text(block.text, encoding="utf-8")
            elif block.language == "sh":
                for line in block.text.splitlines():
                    last = line
                    if "worker run" in line or line == "resonate-amqp dev":
                        _start(programs, line)
                    else:
                        shown += _shows(programs, line, _following(block))
    finally:
        codes = programs.stop()
    assert last == "resonate-amqp tree order-1"
    assert shown == 4
    assert set(codes.values()) == {0}


def _following(block: Block) -> str:
    """What the page shows after a block of commands."""
    found = blocks(PAGE)
    after = found[found.index(block) + 1]
    assert after.language == "text"
    return after.text


def _start(programs: Programs, line: str) -> None:
    name = line.split()[-1].partition(":")[0]
    programs.start(name, *shlex.split(line), cwd=programs.folder)
    if name == "dev":
        found = wait_until("the broker runs", lambda: EXPORT.search(programs.out("dev")), 90)
        programs.environment[found[1]] = found[2]


def _alike(text: str) -> str:
    """The text with every worker's pid and every age made the same."""
    return re.sub(r"\d+ s$", "… s", re.sub(r"by [0-9a-f]{17}\b", "by …", text), flags=re.MULTILINE)


def _shows(programs: Programs, line: str, expected: str) -> int:
    """Run a command until it prints what is expected: what it looks at is still under way."""

    def prints() -> bool:
        done = subprocess.run(
            shlex.split(line),
            cwd=programs.folder,
            env=programs.environment,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        return _alike(done.stdout) == _alike(expected)

    wait_until(f"{line} prints {expected!r}", prints)
    return 1
