"""Desk: where the claims of one process are followed up, one thing after another."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from resonate_amqp import Resonate
from resonate_amqp.ext.pauses import Pauses

log = logging.getLogger(__name__)

ROUND_S = 0.5
"""How often every errand is looked at."""
IDLE_S = 5.0
"""How long the thread lasts without an errand; it begins again when it is needed."""

Action = Callable[[], None]


class Errand(Protocol):
    """What is looked at now and then."""

    def look(self, now: float) -> None:
        """Do what is due at this time (monotonic seconds)."""
        ...


class Desk:
    """A thread of its own, so that neither the node's nor a consumer's has to wait.

    `errands` are those that are under way; they are changed by the thread alone. Every other
    member may be used from any thread.
    """

    def __init__(self, resonate: Resonate) -> None:
        self.resonate = resonate
        self.hold_max = resonate.settings.hold_max
        self.room = threading.Semaphore(resonate.settings.prefetch)
        """How many more messages may be followed up while their consumer goes on."""
        self.live: dict[str, Any] = {}
        """By promise id, the errand of a message that is still held."""
        self.undecided: dict[str, Any] = {}
        """By promise id, the errand whose plain callback returned without an intent."""
        self.pauses = Pauses()
        self.errands: set[Errand] = set()
        self._consuming = False
        self._actions: queue.SimpleQueue[Action] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def consume(self) -> None:
        """Take what was handed over to the ledger, from now on."""
        if not self._consuming:
            self._consuming = True
            self.resonate.consume()

    def post(self, action: Action) -> None:
        """Have something done soon; what it raises is logged."""
        self._actions.put(action)
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="resonate-kombu", daemon=True
                )
                self._thread.start()

    def _run(self) -> None:
        round_at = idle_at = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= round_at:
                round_at = now + ROUND_S
                for errand in list(self.errands):
                    self._do(partial(errand.look, now))
            try:
                self._do(self._actions.get(timeout=max(0.0, round_at - time.monotonic())))
                idle_at = now + IDLE_S
            except queue.Empty:
                if (self.errands and not self.resonate.stopped) or now < idle_at:
                    continue
                with self._lock:
                    if self._actions.empty():
                        self._thread = None
                        return

    def _do(self, action: Action) -> None:
        try:
            action()
        except Exception:
            log.exception("a claim could not be followed up")


_desks: weakref.WeakKeyDictionary[Resonate, tuple[int, Desk]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def desk_of(resonate: Resonate) -> Desk:
    """The desk of this process for an instance; a fork gets its own."""
    with _lock:
        found = _desks.get(resonate)
        if found is None or found[0] != os.getpid():
            found = _desks[resonate] = (os.getpid(), Desk(resonate))
        return found[1]


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
