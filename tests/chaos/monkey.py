"""A monkey: kills, pauses and starts processes and the broker, at moments drawn from a seed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from resonate_amqp.dev.broker import PrivateBroker
from tests.scenarios.system import Process

BROKER = "broker"


@dataclass(slots=True)
class Place:
    """A place that is always to be filled by a process; `start` fills it."""

    name: str
    start: Callable[[], Process]
    process: Process


@dataclass(slots=True)
class Monkey:
    """Breaks one thing at a time, or several; what it paused it continues, what it killed starts.

    `moments` tells what it did and when, in seconds since it began; `paused` whom it paused.
    """

    seed: int
    places: list[Place]
    node: PrivateBroker
    moments: list[str] = field(default_factory=list)
    paused: set[int] = field(default_factory=set)
    _began: float = field(default_factory=time.monotonic)
    _to_continue: list[tuple[float, str, int]] = field(default_factory=list)

    def play(self, seconds: float) -> None:
        """Break things for so long, then put everything right again."""
        draw = random.Random(self.seed)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._sleep(draw.uniform(0.2, 2.0))
            if draw.random() < 0.1:
                self._break_broker(draw)
            else:
                self._break_process(draw, draw.choice(self.places))
        for _, name, pid in self._to_continue:
            self._continue(name, pid)
        self._to_continue.clear()

    def _break_process(self, draw: random.Random, place: Place) -> None:
        if any(pid == place.process.pid for _, _, pid in self._to_continue):
            return
        if draw.random() < 0.5:
            self._note(f"kill {place.name} ({place.process.pid})")
            place.process.kill()
            place.process = place.start()
        else:
            self._pause(place.name, place.process.pid, draw.uniform(0.1, 6.0))

    def _break_broker(self, draw: random.Random) -> None:
        if any(name == BROKER for _, name, _ in self._to_continue):
            return
        if draw.random() < 0.5:
            self._note("kill broker")
            self.node.kill()
            self.node.start()
            self._note("the broker is back")
        else:
            self._pause(BROKER, self.node.pid, draw.uniform(0.5, 5.0))

    def _pause(self, name: str, pid: int, seconds: float) -> None:
        self._note(f"pause {name} ({pid}) for {seconds:.1f} s")
        self.paused.add(pid)
        os.kill(pid, signal.SIGSTOP)
        self._to_continue.append((time.monotonic() + seconds, name, pid))

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while True:
            due = [one for one in self._to_continue if one[0] <= time.monotonic()]
            for one in due:
                self._to_continue.remove(one)
                self._continue(one[1], one[2])
            if time.monotonic() >= until:
                return
            time.sleep(0.02)

    def _continue(self, name: str, pid: int) -> None:
        self._note(f"continue {name} ({pid})")
        os.kill(pid, signal.SIGCONT)

    def _note(self, what: str) -> None:
        self.moments.append(f"{time.monotonic() - self._began:6.2f}  {what}")
