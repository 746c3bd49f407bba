"""Failpoints on purpose: at a named place this process is killed, paused or cut off its broker."""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from resonate_amqp.errors import UsageError
from resonate_amqp.ports import Broker, Failpoint, Failpoints
from resonate_amqp.resonate.machine import NoFailpoints

log = logging.getLogger(__name__)

_SENT = {Failpoint.BATCH_PUBLISHED, Failpoint.PROMOTION_PUBLISHED}
_WRITTEN = re.compile(r"(?P<name>[^@=]+)(@(?P<time>[1-9][0-9]{0,8}))?=(?P<fate>[^@=]+)")


class Fate(StrEnum):
    """What becomes of a process that comes to a failpoint."""

    KILL = "kill"
    PAUSE = "pause"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Mishap:
    """What happens at a place, the `time`-th time that the process comes to it."""

    place: Failpoint
    fate: Fate
    time: int = 1

    @classmethod
    def read(cls, text: str) -> Mishap:
        """`NAME=FATE` or `NAME@TIME=FATE`; raises UsageError listing what there is."""
        written = _WRITTEN.fullmatch(text)
        if written is None:
            raise UsageError(
                f"failpoint {text!r} is not NAME=FATE; write batch.committed=kill, or "
                "batch.committed@3=kill for the third time"
            )
        name, fate = written["name"], written["fate"]
        if name not in list(Failpoint):
            raise UsageError(f"{name!r} is no failpoint; there are {', '.join(Failpoint)}")
        if fate not in list(Fate):
            raise UsageError(f"{fate!r} cannot happen at {name}; there are {', '.join(Fate)}")
        return cls(Failpoint(name), Fate(fate), int(written["time"] or 1))

    def __str__(self) -> str:
        return f"{self.place}@{self.time}={self.fate}"


class ArmedFailpoints:
    """Satisfies the port `Failpoints` for a process that has a connection to `broker`.

    `reach` is called from the thread that polls the broker.
    """

    armed = True

    def __init__(self, mishaps: Iterable[Mishap], broker: Broker) -> None:
        self._mishaps = {(one.place, one.time): one.fate for one in mishaps}
        self._broker = broker
        self._reached: Counter[Failpoint] = Counter()

    def reach(self, name: Failpoint) -> None:
        self._reached[name] += 1
        fate = self._mishaps.get((name, self._reached[name]))
        if fate is None:
            return
        log.warning("%s comes to %s for the time %d", fate, name, self._reached[name])
        if name in _SENT:
            self._broker.flush()
        match fate:
            case Fate.DROP:
                self._broker.abort()
            case Fate.PAUSE:
                # To this very thread, which must not go on until the process is stopped.
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
            case Fate.KILL:
                os.kill(os.getpid(), signal.SIGKILL)


def armed(mishaps: Iterable[Mishap], broker: Broker) -> Failpoints:
    """Failpoints with these mishaps; without any, ones that cost nothing."""
    found = list(mishaps)
    return ArmedFailpoints(found, broker) if found else NoFailpoints()
