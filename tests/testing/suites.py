"""Somebody's test suite, in a folder and a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run(folder: Path) -> tuple[int, str]:
    """Run pytest as strictly as it can be; answers its exit code and what it printed."""
    command = [sys.executable, "-W", "error", "-m", "pytest", "-W", "error", "--strict-config"]
    command += ["--strict-markers", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=short"]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=90
    )
    return done.returncode, done.stdout + done.stderr
