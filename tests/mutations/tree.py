"""Throw-away copies of the working tree, in which tests are run; the tree itself is never touched.

A copy's byte code is compiled once, and checked by the hash of its source: a fault may be planted
and taken out within one tick of the clock, and be as long as what it replaces.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.mutations.faults import Fault

ROOT = Path(__file__).resolve().parent.parent.parent
TIMED_OUT = -1


class Copy:
    """A copy of everything that is in the repository or would be added to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        for name in listing.stdout.decode().split("\0"):
            if name and (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
        hashed = ("--invalidation-mode", "checked-hash")
        compiling = [sys.executable, "-m", "compileall", "-qq", *hashed, "resonate_amqp", "tests"]
        subprocess.run(compiling, cwd=folder, check=False)

    @contextlib.contextmanager
    def planted(self, faults: Sequence[Fault]) -> Iterator[None]:
        """Plant faults, which do not overlap, for as long as the block runs."""
        before = {path: (self.folder / path).read_bytes() for path in {one.path for one in faults}}
        sources = dict(before)
        for fault in sorted(faults, key=lambda one: one.start, reverse=True):
            sources[fault.path] = fault.planted(sources[fault.path])
        try:
            for path, source in sources.items():
                (self.folder / path).write_bytes(source)
            yield
        finally:
            for path, source in before.items():
                (self.folder / path).write_bytes(source)
            shutil.rmtree(self.folder / ".hypothesis", ignore_errors=True)

    def pytest(
        self,
        *arguments: str,
        tests: Sequence[str] = (),
        timeout_s: float,
        environment: Mapping[str, str] = {},
    ) -> tuple[int, str]:
        """Run tests here; answers the exit code, TIMED_OUT for a hang, and what was printed."""
        listed = self.folder / "tests.txt"
        listed.write_text("\n".join(tests), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        if tests:
            command.append(f"@{listed}")
        inherited = {name: told for name, told in os.environ.items() if "RESONATE" not in name}
        own = {"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        running = subprocess.Popen(
            command,
            cwd=self.folder,
            env=inherited | own | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            errors="replace",
        )
        try:
            output, _ = running.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            output, _ = running.communicate()
            return TIMED_OUT, output
        return running.returncode, output


@contextlib.contextmanager
def copied() -> Iterator[Copy]:
    """A copy that is thrown away at the end."""
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        yield Copy(Path(folder))
