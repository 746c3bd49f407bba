"""Pool: several processes of one command, kept running until they are told to stop.

Each holds the reading end of a pipe whose other end only the supervisor has. The end of that
file is the word to stop; it comes as well when the supervisor is killed. Signals are not passed
on: whoever stops a whole group of processes has told the children already, and a second signal
means at once.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from resonate_amqp.settings import PREFIX

log = logging.getLogger(__name__)

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
YOUNG_S = 30.0
USAGE = 2
PIPE = PREFIX + "POOL_PIPE"
"""The environment variable that tells a process of a pool its end of the pipe."""

_PID = PREFIX + "PID"
_ASKED_TO_END = {0, -signal.SIGTERM, -signal.SIGINT}


@dataclass(slots=True, eq=False)
class _Slot:
    """One place of the pool, and the process that fills it."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    due: float | None = None
    wait_s: float = 0.0
    code: int | None = None

    @property
    def young(self) -> bool:
        return time.monotonic() - self.started_at < YOUNG_S


class Pool:
    """`count` processes of `python -m resonate_amqp ARGUMENTS`.

    One that ends is replaced, at once when it lived for 30 s, else after 1 s, doubling to 30 s.
    """

    def __init__(self, arguments: Sequence[str], count: int) -> None:
        self._command = [sys.executable, "-m", "resonate_amqp", *arguments]
        self._slots = [_Slot(number) for number in range(1, count + 1)]
        self._events: queue.SimpleQueue[int | _Slot] = queue.SimpleQueue()
        self._theirs, self._ours = os.pipe()
        self._stopping = False
        self._result = 0

    def run(self) -> int:
        """Keep the processes running until SIGTERM or SIGINT; answers the exit code.

        The first signal stops them in order, a second one kills them. When none of them could
        make use of its arguments the pool ends with their code, 2.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _frame: self._events.put(number))
        for slot in self._slots:
            self._start(slot)
        while not self._stopping or any(slot.process for slot in self._slots):
            try:
                event = self._events.get(timeout=self._idle_s())
            except queue.Empty:
                self._start_due()
                continue
            if isinstance(event, _Slot):
                self._ended(event)
            else:
                self._signalled(event)
        return self._result

    def _idle_s(self) -> float | None:
        due = [slot.due for slot in self._slots if slot.due is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _start_due(self) -> None:
        for slot in self._slots:
            if slot.due is not None and slot.due <= time.monotonic():
                self._start(slot)

    def _start(self, slot: _Slot) -> None:
        slot.due = None
        slot.started_at = time.monotonic()
        environment = os.environ | {PIPE: str(self._theirs)}
        if _PID in environment:
            environment[_PID] += f"-{slot.number}"
        process = subprocess.Popen(
            self._command,
            env=environment,
            stdin=subprocess.DEVNULL,
            pass_fds=[self._theirs],
            process_group=0,
        )
        slot.process = process
        log.info("worker %d started as process %d", slot.number, process.pid)

        def wait() -> None:
            process.wait()
            self._events.put(slot)

        threading.Thread(target=wait, name=f"pool-{slot.number}", daemon=True).start()

    def _ended(self, slot: _Slot) -> None:
        process, slot.process = slot.process, None
        assert process is not None
        slot.code = process.returncode
        end = f"worker {slot.number} (process {process.pid}) ended with {_text(slot.code)}"
        if self._stopping:
            if slot.code not in _ASKED_TO_END:
                log.warning(end)
                self._result = self._result or 1
            return
        slot.wait_s = min(max(FIRST_WAIT_S, 2 * slot.wait_s), LONGEST_WAIT_S) if slot.young else 0
        if all(one.code == USAGE and one.young for one in self._slots):
            log.error("%s, as every other one: the pool ends", end)
            self._stop(USAGE)
            return
        lived_s = time.monotonic() - slot.started_at
        log.warning("%s after %.1f s; started again in %g s", end, lived_s, slot.wait_s)
        slot.due = time.monotonic() + slot.wait_s

    def _signalled(self, number: int) -> None:
        if not self._stopping:
            left = sum(slot.process is not None for slot in self._slots)
            log.info("%s: %d workers are told to stop", signal.Signals(number).name, left)
            self._stop(0)
            return
        self._result = 128 + number
        for slot in self._slots:
            if slot.process is not None:
                slot.process.kill()

    def _stop(self, result: int) -> None:
        self._stopping = True
        self._result = result
        for slot in self._slots:
            slot.due = None
        os.close(self._ours)


def word_to_stop() -> threading.Event | None:
    """In a process of a pool: an event that is set when the pool stops or its supervisor dies."""
    given = os.environ.pop(PIPE, None)
    if given is None:
        return None
    pipe = int(given)
    os.set_inheritable(pipe, False)
    told = threading.Event()

    def watch() -> None:
        os.read(pipe, 1)
        told.set()

    threading.Thread(target=watch, name="resonate-pool", daemon=True).start()
    return told


def _text(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
