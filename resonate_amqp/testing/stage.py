"""Stage: every loop of a system on one thread, in turn, until nothing moves any more.

That is what makes "everything that is due has been worked off" a fact and not a guess: the
stage is at rest when no loop has an event, a post or an alarm that is due, and no leaf is on
its way.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from resonate_amqp.brokers.memory import MemoryBroker, MemoryConnection
from resonate_amqp.errors import ResonateError
from resonate_amqp.ports import Broker, Event
from resonate_amqp.resonate.machine import Loop
from resonate_amqp.runtime.session import Session
from resonate_amqp.testing.clock import ManualClock

log = logging.getLogger(__name__)

MOST_ROUNDS = 100_000
IDLE_MS = 1_000


@dataclass(slots=True, eq=False)
class Leaving:
    """A leaf on its way; it is no hindrance to rest while what it `awaits` is not done."""

    what: str
    thread: int | None = None
    awaits: Future[Any] | None = None

    def moving(self) -> bool:
        return self.awaits is None or self.awaits.done()


class Stage:
    """Turns the seats; other threads wait here for something, for rest, or for time to pass.

    `attend` is called before every round, on the stage's thread; `next_timer` tells when the
    ledger has something to do next (epoch ms), `longest_gap` by how much the clock may be moved
    at once (ms).
    """

    def __init__(self, clock: ManualClock, patience_s: float) -> None:
        self.clock = clock
        self.attend: Callable[[], None] = lambda: None
        self.next_timer: Callable[[], int | None] = lambda: None
        self.longest_gap: Callable[[], int | None] = lambda: None
        self.turning = threading.RLock()
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._seats: list[Seat] = []
        self._leaves: set[Leaving] = set()
        self._woken = False
        self._resting = False
        self._ended = False
        self._goal: int | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="resonate-stage", daemon=True)
        self._thread.start()

    def drive(
        self, broker: Broker, loop: Loop, _name: str, failed: Callable[[BaseException], None]
    ) -> Seat:
        """Turn a loop together with the others; satisfies `machine.Drive`."""
        seat = Seat(self, broker, loop, failed)
        with self.turning:
            self._seats.append(seat)
        self.wake()
        return seat

    def wake(self) -> None:
        """Something happened; from any thread."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def current(self) -> bool:
        """Whether the caller runs on the stage's own thread."""
        return threading.current_thread() is self._thread

    def until(self, met: Callable[[], bool], within_s: float | None = None) -> bool:
        """Wait until something holds or nothing moves any more; answers whether it holds.

        Raises TimeoutError after `within_s`; without it ResonateError when a leaf keeps the stage
        from coming to rest, or its clock from moving, for too long. Both are real time.
        """
        seen = self.clock.elapsed
        give_up = time.monotonic() + (self._patience_s if within_s is None else within_s)
        with self._changed:
            while not met():
                if within_s is None and seen != self.clock.elapsed:
                    seen = self.clock.elapsed
                    give_up = time.monotonic() + self._patience_s
                if self._failure is not None:
                    raise ResonateError("a loop of the test system failed") from self._failure
                if self._at_rest():
                    return False
                left = give_up - time.monotonic()
                if left <= 0 and within_s is not None:
                    raise TimeoutError
                if left <= 0:
                    raise ResonateError(self._restless())
                self._changed.wait(left)
        return True

    def rest(self) -> None:
        """Wait until nothing moves any more."""
        self.until(lambda: False)

    def pass_time(self, milliseconds: int | None) -> None:
        """Let time pass, from one due thing to the next; None: until the next one.

        Returns when all that became due has been worked off.
        """
        self.rest()
        with self._changed:
            self._goal = -1 if milliseconds is None else self.clock.elapsed + milliseconds
            self._woken = True
            self._changed.notify_all()
        while not self.until(lambda: self._goal is None):
            self.wake()
        self.rest()

    def awaiting(self, future: Future[Any]) -> Leaving | None:
        """The leaf that the caller runs in, marked as waiting for `future`; None elsewhere."""
        here = threading.get_ident()
        with self._changed:
            leaf = next((one for one in self._leaves if one.thread == here), None)
            if leaf is not None:
                leaf.awaits = future
                self._changed.notify_all()
        return leaf

    def enter(self, leaf: Leaving) -> None:
        with self._changed:
            self._leaves.add(leaf)

    def leave(self, leaf: Leaving) -> None:
        with self._changed:
            self._leaves.discard(leaf)
            self._woken = True
            self._changed.notify_all()

    def end(self) -> None:
        """Turn nothing any more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if not self.current():
            self._thread.join(5.0)

    def dismiss(self, seat: Seat) -> None:
        """Turn this loop no more, and close its broker."""
        with self.turning:
            if seat in self._seats:
                self._seats.remove(seat)
                seat.broker.close()

    def holds(self, seat: Seat) -> bool:
        return seat in self._seats and not self._ended

    def _run(self) -> None:
        while self._to_do():
            try:
                with self.turning:
                    self._work()
            except BaseException as error:  # whoever waits is told
                log.critical("the test system failed", exc_info=True)
                self._failure = error
                self.wake()
                return

    def _to_do(self) -> bool:
        """Wait for something to do; false at the end."""
        with self._changed:
            while not (self._woken or self._ended):
                if self._goal is not None and not self._moving():
                    break
                self._resting = True
                self._changed.notify_all()
                self._changed.wait()
            self._resting = False
            self._woken = False
            return not self._ended

    def _work(self) -> None:
        for _ in range(MOST_ROUNDS):
            if not self._round():
                break
        else:
            raise RuntimeError(f"the loops did not come to rest in {MOST_ROUNDS} rounds")
        with self._changed:
            if self._goal is not None and not self._woken and not self._moving():
                self._jump()

    def _round(self) -> bool:
        self.attend()
        busy = False
        for seat in list(self._seats):
            if seat not in self._seats:
                continue
            events: list[Event] = seat.broker.poll(0)
            busy |= bool(events) or seat.loop.idle_ms() <= 0
            try:
                seat.loop.turn(events)
            except BaseException as error:  # reported as by a pump, and the loop ends
                log.critical("a loop failed", exc_info=True)
                self.dismiss(seat)
                seat.failed(error)
                continue
            busy |= seat.loop.idle_ms() <= 0
        return busy

    def _jump(self) -> None:
        """Move the clock to the next instant at which something is due, or to the goal."""
        assert self._goal is not None
        goal = self._goal
        dues = [seat.due() for seat in self._seats]
        timer = self.next_timer()
        dues.append(None if timer is None else timer - self.clock.zero_ms)
        elapsed = self.clock.elapsed
        gap = self.longest_gap()
        dues.append(None if gap is None else elapsed + gap)
        ahead = [due for due in dues if due is not None and due > elapsed]
        if goal < 0:
            goal = self._goal = min(ahead, default=elapsed + IDLE_MS)
        if elapsed >= goal:
            self._goal = None
        else:
            self.clock.move(min([*ahead, goal]) - elapsed)
        self._woken = True
        self._changed.notify_all()

    def _moving(self) -> bool:
        return any(leaf.moving() for leaf in self._leaves)

    def _at_rest(self) -> bool:
        return self._resting and not self._woken and not self._moving()

    def _restless(self) -> str:
        leaves = ", ".join(sorted(leaf.what for leaf in self._leaves if leaf.moving()))
        what = f"still running: {leaves}" if leaves else "its loops go on and on"
        return (
            f"the test system did not come to rest within {self._patience_s:g} s of real time; "
            f"{what}. Make the function quicker, or give System(patience=…) more time"
        )


class Seat:
    """One loop on the stage; satisfies `machine.Driven`."""

    def __init__(
        self,
        stage: Stage,
        broker: Broker,
        loop: Loop,
        failed: Callable[[BaseException], None],
    ) -> None:
        self.broker = broker
        self.loop = loop
        self.failed = failed
        self._stage = stage

    @property
    def running(self) -> bool:
        return self._stage.holds(self)

    def current(self) -> bool:
        return self._stage.current()

    def stop(self, timeout_s: float = 5.0) -> None:
        self._stage.dismiss(self)

    def due(self) -> int | None:
        """When the loop's next alarm is due, as far as it tells."""
        return self.loop.alarms.next_needed_at() if isinstance(self.loop, Session) else None


class StageBroker(MemoryBroker):
    """A broker whose connections wake the stage when something comes in."""

    stage: Stage

    def connect(self) -> MemoryConnection:
        return _StageConnection(self, self.stage)


class _StageConnection(MemoryConnection):
    def __init__(self, broker: MemoryBroker, stage: Stage) -> None:
        self._stage = stage
        super().__init__(broker)

    def push(self, event: Event) -> None:
        super().push(event)
        self._stage.wake()

    def wake(self) -> None:
        super().wake()
        self._stage.wake()
