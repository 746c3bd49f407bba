"""Processes under a supervisor, as systemd has them: what ends is started again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

RESTART_S = 0.2
LINGER_S = 2.0
GRACE_S = 20.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Program:
    """What is to run: a command in a folder. `children` tells that it has some that work."""

    name: str
    command: Sequence[str]
    folder: Path
    children: bool = False


@dataclass(slots=True)
class Running:
    """A program and its process at present; `group` is every process that it started."""

    program: Program
    process: subprocess.Popen[bytes]
    start_at: float | None = None


@dataclass(slots=True)
class Supervisor:
    """Starts programs, and whatever of them ends again, until it is stopped.

    What the programs print goes to files in `logs`. When a process with children is killed, they
    may go on for LINGER_S beside its successor, and are killed then.
    """

    logs: Path
    environment: Mapping[str, str]
    restarts: list[str] = field(default_factory=list)
    """What ended without having been killed here, with its exit code."""
    _running: dict[str, Running] = field(default_factory=dict)
    _orphans: dict[int, float] = field(default_factory=dict)
    _killed: set[int] = field(default_factory=set)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _watcher: threading.Thread | None = None

    def start(self, programs: Sequence[Program]) -> None:
        with self._lock:
            for program in programs:
                self._running[program.name] = Running(program, self._spawn(program))
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, daemon=True)
            self._watcher.start()

    def finish(self, programs: Sequence[Program]) -> None:
        """Run programs to their end, one after the other; raises if one fails."""
        for program in programs:
            process = self._spawn(program)
            try:
                code = process.wait()
            finally:
                process.kill()
            if code:
                raise subprocess.CalledProcessError(code, program.command)

    def kill(self, name: str) -> int | None:
        """`kill -9` of a program's process; None when there is none at the moment."""
        with self._lock:
            process = self._running[name].process
            if process.poll() is not None:
                return None
            self._killed.add(process.pid)
            process.kill()
            return process.pid

    def kill_child(self, name: str, choose: float) -> int | None:
        """`kill -9` of one of a process's children: the first at 0, the last towards 1."""
        with self._lock:
            process = self._running[name].process
            children = _children(process.pid) if process.poll() is None else []
            if not children:
                return None
            child = children[int(choose * len(children))]
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            return child

    def stop(self) -> None:
        """SIGTERM to every process in the order they were started, then kill what is left."""
        self._stopped.set()
        if self._watcher is not None:
            self._watcher.join()
        running = [one.process for one in self._running.values()]
        for process in running:
            process.terminate()
        until = time.monotonic() + GRACE_S
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
        for group in [*self._orphans, *(process.pid for process in running)]:
            _kill_group(group)
        for process in running:
            process.wait()

    def _watch(self) -> None:
        while not self._stopped.wait(POLL_S):
            with self._lock:
                now = time.monotonic()
                for one in self._running.values():
                    self._revive(one, now)
                for group, until in list(self._orphans.items()):
                    if now >= until:
                        _kill_group(group)
                        del self._orphans[group]

    def _revive(self, one: Running, now: float) -> None:
        code = one.process.poll()
        if code is None:
            return
        if one.start_at is None:
            one.start_at = now + RESTART_S
            if one.process.pid not in self._killed:
                self.restarts.append(f"{one.program.name} ended by itself ({code})")
            if one.program.children:
                self._orphans[one.process.pid] = now + LINGER_S
        elif now >= one.start_at:
            one.process, one.start_at = self._spawn(one.program), None

    def _spawn(self, program: Program) -> subprocess.Popen[bytes]:
        with (self.logs / f"{program.name}.log").open("ab") as log:
            return subprocess.Popen(
                program.command,
                cwd=program.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def _children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(one) for one in found.stdout.split()]


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
