"""A shell for the tests of commands: runs them as processes, in one folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


class Shell:
    """Runs commands against one broker, in one folder."""

    def __init__(self, url: str, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "RESONATE_AMQP_URL": url,
            "RESONATE_AMQP_LEDGER": f"sqlite:///{folder / 'ledger.db'}",
            "PYTHONPATH": str(folder),
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "resonate_amqp", *arguments]
        return subprocess.Popen(
            command,
            env=self.environment,
            cwd=self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)
