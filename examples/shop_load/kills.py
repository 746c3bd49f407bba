"""Kills: one thing after the other, at moments drawn from a seed, each of them logged.

Everything is killed once, in an order drawn from the seed too, before anything is killed again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from examples.shop_load.processes import Program, Supervisor
from resonate_amqp.dev.broker import PrivateBroker

BETWEEN_S = (0.5, 3.5)


@dataclass(slots=True)
class Kills:
    """Kills programs, their children and the broker; `say` is told of each."""

    seed: int
    supervisor: Supervisor
    programs: list[Program]
    broker: PrivateBroker
    say: Callable[[str], None]
    counts: dict[str, int] = field(default_factory=dict)
    moments: list[float] = field(default_factory=list)

    def go_on(self, seconds: float) -> None:
        """Kill for so long."""
        draw = random.Random(self.seed)
        until = time.monotonic() + seconds
        victims: list[Program | None] = []
        while True:
            time.sleep(min(draw.uniform(*BETWEEN_S), max(0.0, until - time.monotonic())))
            if time.monotonic() >= until:
                return
            if not victims:
                victims = [*self.programs, None]
                draw.shuffle(victims)
            victim = victims.pop()
            if victim is None:
                self._kill_broker()
            else:
                self._kill(victim, draw.random(), draw.random())

    def _kill(self, program: Program, which: float, child: float) -> None:
        if program.children and which < 0.5:
            pid = self.supervisor.kill_child(program.name, child)
            self._note(f"a child of {program.name}", pid)
        else:
            self._note(program.name, self.supervisor.kill(program.name))

    def _kill_broker(self) -> None:
        self._note("the broker", self.broker.pid)
        self.broker.kill()
        began = time.monotonic()
        self.broker.start()
        self.say(f"the broker answers again after {time.monotonic() - began:.1f} s")

    def _note(self, what: str, pid: int | None) -> None:
        if pid is None:
            return
        self.say(f"kill -9 {what} ({pid})")
        self.moments.append(time.time())
        self.counts[what] = self.counts.get(what, 0) + 1
