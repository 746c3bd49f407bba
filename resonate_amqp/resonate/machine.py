"""The machine underneath: its clock, its randomness, and the thread that drives a loop."""

from __future__ import annotations

import itertools
import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from resonate_amqp.ports import Broker, Event, Failpoint

log = logging.getLogger(__name__)


class SystemClock:
    """The machine's clock; satisfies the port `Clock`."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> int:
        return time.monotonic_ns() // 1_000_000


class SystemRandom:
    """Tokens nobody else draws: a random prefix of its own, and a count; satisfies `Random`."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(8)
        self._count = itertools.count(1)

    def token(self) -> str:
        return f"{self._prefix}{next(self._count):x}"


class NoFailpoints:
    """Every place is passed; satisfies the port `Failpoints`."""

    armed = False

    def reach(self, name: Failpoint) -> None:
        return


class Loop(Protocol):
    """What a pump drives: a session or a ledger service."""

    def turn(self, events: Sequence[Event]) -> None: ...

    def idle_ms(self) -> int: ...


class Driven(Protocol):
    """A loop that is being driven, by a thread of its own or by a test."""

    @property
    def running(self) -> bool: ...

    def current(self) -> bool:
        """Whether the caller runs on the thread that drives it."""
        ...

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the loop and close its broker."""
        ...


Drive = Callable[[Broker, Loop, str, Callable[[BaseException], None]], Driven]
"""Drives a loop, under a name; `failed` is told whatever escapes it."""


class Pump:
    """Polls a broker and turns a loop, on a daemon thread of its own, until `stop`.

    `failed` is called with whatever escapes the loop, which is a defect; the pump then stops.
    """

    def __init__(
        self,
        broker: Broker,
        loop: Loop,
        name: str,
        failed: Callable[[BaseException], None] = lambda _error: None,
    ) -> None:
        self._broker = broker
        self._loop = loop
        self._failed = failed
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the loop and close the broker; waits for it, unless called by the loop itself."""
        self._stopping.set()
        if self._thread.is_alive():
            self._broker.wake()
            if threading.current_thread() is not self._thread:
                self._thread.join(timeout_s)

    def current(self) -> bool:
        """Whether the caller runs on the pump's own thread."""
        return threading.current_thread() is self._thread

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._loop.turn(self._broker.poll(self._loop.idle_ms()))
        except BaseException as error:  # reported, and the thread ends
            log.critical("the loop failed", exc_info=True)
            self._failed(error)
        finally:
            self._broker.close()
