"""A plugin of pytest that records how long each test took and how it ended.

Load it with `-p tests.mutations.recording`, and name the file in TESTS_RECORDED.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path

import pytest

FILE = "TESTS_RECORDED"

_took: defaultdict[str, float] = defaultdict(float)
_failed: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up set-up, call and tear-down of a test."""
    _took[report.nodeid] += report.duration
    if report.failed:
        _failed.add(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was recorded, in the process that started the others."""
    if not hasattr(session.config, "workerinput") and FILE in os.environ:
        record = {"took": _took, "failed": sorted(_failed)}
        Path(os.environ[FILE]).write_text(json.dumps(record), encoding="utf-8")
