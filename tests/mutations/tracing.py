"""Which everyday tests run each line of the package: traced once for each state of the tree."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import coverage

from tests.mutations import recording
from tests.mutations.faults import Fault
from tests.mutations.tree import ROOT, copied

BUILD = ROOT / "build" / "mutations"
EVERYDAY = "not (rabbitmq or postgres or redis or nodejs or processes or docker or chaos)"
BESIDE = ("tests/test_house.py", "tests/test_packaging.py")
"""These look at the text of the package and not at what it does."""
ON_IMPORT = ""
"""What coverage calls what no test runs."""
TRACE_S = 3_600
_SETTINGS = """[run]
source = resonate_amqp
concurrency = thread
relative_files = True
data_file = coverage.db
"""
Lines = dict[str, dict[int, set[str]]]


@dataclass(frozen=True, slots=True)
class Trace:
    """The everyday tests: how long each took, and by file and line, which ran it."""

    took: dict[str, float]
    lines: Lines

    def running(self, fault: Fault) -> set[str]:
        """The tests that run what a fault changes."""
        by_line = self.lines.get(fault.path, {})
        found = [by_line.get(number, set()) for number in range(fault.line, fault.last_line + 1)]
        running = set[str]().union(*found)
        if ON_IMPORT in running:
            # A constant, or a default: whoever runs anything of the file may depend on it.
            running = running.union(*by_line.values()) - {ON_IMPORT}
            folder = "/".join(["tests", *fault.path.split("/")[1:-1]])
            return running or {test for test in self.took if test.startswith(f"{folder}/")}
        return running


def trace() -> Trace:
    """The trace of the tree as it is now."""
    kept = BUILD / _digest()
    if not (kept / "tests.json").exists():
        print("tracing the everyday tests once (several minutes)", flush=True)
        _run(kept)
    recorded = json.loads((kept / "tests.json").read_text(encoding="utf-8"))
    failed = set(recorded["failed"])
    took = {test: spent for test, spent in recorded["took"].items() if test not in failed}
    for test in sorted(failed):
        print(f"left out, as it fails without any fault: {test}", flush=True)
    return Trace(took, _lines(kept / "coverage.db", {*took, ON_IMPORT}))


def _digest() -> str:
    """The state of the package and of its tests."""
    digest = hashlib.sha256()
    for folder in ("resonate_amqp", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "mutations" not in path.parts:
                digest.update(path.relative_to(ROOT).as_posix().encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _run(kept: Path) -> None:
    kept.mkdir(parents=True, exist_ok=True)
    with copied() as copy:
        (copy.folder / "coverage.ini").write_text(_SETTINGS, encoding="utf-8")
        tracing = ("--cov", "--cov-config=coverage.ini", "--cov-context=test", "--cov-report=")
        plugin = ("-p", recording.__name__)
        ignored = [f"--deselect={path}" for path in BESIDE]
        _, output = copy.pytest(
            *("-n", "2", "-m", EVERYDAY),
            *tracing,
            *plugin,
            *ignored,
            timeout_s=TRACE_S,
            environment={recording.FILE: str(copy.folder / "tests.json")},
        )
        print(output[-300:], flush=True)
        for name in ("coverage.db", "tests.json"):
            shutil.copyfile(copy.folder / name, kept / name)


def _lines(database: Path, tests: set[str]) -> Lines:
    data = coverage.CoverageData(str(database))
    data.read()
    lines: Lines = {}
    for path in data.measured_files():
        by_line: defaultdict[int, set[str]] = defaultdict(set)
        for line, contexts in data.contexts_by_lineno(path).items():
            by_line[line] = {context.rpartition("|")[0] for context in contexts} & tests
        lines[path] = dict(by_line)
    return lines
