"""Load: orders placed at an even rate, each until the broker has confirmed it."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, field

from examples.shop_load.shops import Place

SITES = 4
AGAIN_S = 0.2


@dataclass(slots=True)
class Load:
    """Places orders 1, 2, 3 … from a few threads, at so many a second in all."""

    place: Place
    rate: float
    accepted: dict[int, float] = field(default_factory=dict)
    """By number, when the broker confirmed the order."""
    repeated: int = 0
    """How often an order was placed again, because nothing confirmed it."""
    errors: dict[str, int] = field(default_factory=dict)
    _wanted: queue.SimpleQueue[int | None] = field(default_factory=queue.SimpleQueue)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def first(self, timeout_s: float) -> bool:
        """Place order 0, and no other; whether that was confirmed in time."""
        until = time.monotonic() + timeout_s
        while not self._placed(0):
            if time.monotonic() > until:
                return False
            time.sleep(AGAIN_S)
        return True

    def start(self) -> None:
        loops = [self._draw, *[self._serve] * SITES]
        self._threads = [threading.Thread(target=loop, daemon=True) for loop in loops]
        for thread in self._threads:
            thread.start()

    def end(self, timeout_s: float) -> bool:
        """Place no more; whether those that were begun were all confirmed in time."""
        self._ended.set()
        until = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _draw(self) -> None:
        number = 0
        due_at = time.monotonic()
        while not self._ended.wait(max(0.0, due_at - time.monotonic())):
            number += 1
            due_at += 1 / self.rate
            self._wanted.put(number)
        for _ in range(SITES):
            self._wanted.put(None)

    def _serve(self) -> None:
        while (number := self._wanted.get()) is not None:
            while not self._placed(number):
                time.sleep(AGAIN_S)

    def _placed(self, number: int) -> bool:
        try:
            self.place(number)
        except Exception as error:  # a broker that is being killed fails in any way there is
            with self._lock:
                self.repeated += 1
                name = type(error).__name__
                self.errors[name] = self.errors.get(name, 0) + 1
            return False
        with self._lock:
            self.accepted[number] = time.time()
        return True
