"""Programs as their readers start them: real processes over one virtual host."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from resonate_amqp.settings import PREFIX

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "examples"
WAIT_S = 30.0
POLL_S = 0.02


class Programs:
    """Starts programs with one environment; what they print is kept in files of `folder`."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        self.environment = kept | variables
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *command: str, cwd: Path = ROOT) -> subprocess.Popen[bytes]:
        out_file, log_file = self.folder / f"{name}.out", self.folder / f"{name}.log"
        with out_file.open("ab") as out, log_file.open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                cwd=cwd,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
            )
        return self._running[name]

    def out(self, name: str) -> str:
        """What the program printed so far."""
        return (self.folder / f"{name}.out").read_text(encoding="utf-8")

    def log(self, name: str) -> str:
        """What the program logged so far."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def stop(self) -> dict[str, int]:
        """SIGTERM to each, the last started first; answers the exit codes."""
        codes = {}
        for name, process in reversed(self._running.items()):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(WAIT_S)
            if process.poll() is None:
                process.kill()
            codes[name] = process.wait()
        self._running.clear()
        return codes

    def kill(self, name: str) -> None:
        """`kill -9`."""
        process = self._running.pop(name)
        process.kill()
        process.wait()


def wait_until(what: str, condition: Callable[[], Any], timeout_s: float = WAIT_S) -> Any:
    """What `condition` answers once that is true; fails after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(POLL_S)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def http(
    method: str, url: str, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """Status and JSON body of a request without a body."""
    asked = urllib.request.Request(url, method=method, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(asked, timeout=WAIT_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.load(refusal)
