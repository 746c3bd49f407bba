"""Pauses: how long a message is held before it is given back to its queue.

A message that is given back is delivered again at once, so that one nobody can settle would come
back thousands of times a second. RabbitMQ from 4.0 on counts what is given back against a quorum
queue's delivery limit, 20 unless set, and drops or dead-letters the message beyond it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

FIRST_S = 1.0
LONGEST_S = 30.0
MOST = 10_000
"""Messages whose pauses are remembered; of more than these, the oldest begin anew."""


class Pauses:
    """By execution: none the first time, then 1, 2, 4 … 30 seconds. Safe in any thread."""

    def __init__(self) -> None:
        self._next: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def next(self, key: str, returned: int = 0) -> float:
        """Seconds for which to hold the message that is given back now.

        `returned` is how often it was, by any process, as far as its queue counts that.
        """
        with self._lock:
            least = min(FIRST_S * 2 ** min(returned - 1, 9), LONGEST_S) if returned > 0 else 0.0
            pause = max(self._next.pop(key, 0.0), least)
            self._next[key] = min(2 * pause, LONGEST_S) if pause else FIRST_S
            if len(self._next) > MOST:
                self._next.popitem(last=False)
            return pause

    def forget(self, key: str) -> None:
        """The message was settled otherwise."""
        with self._lock:
            self._next.pop(key, None)
