"""Parking: which bodies have to let go of their delivery, and when.

A body that waits for others is suspended when it has waited for `park_after`, when no slot is
free, at shutdown, and when its delivery is `hold_max` old. A body that cannot be suspended then
goes on under a TTL lease, so that no delivery ever meets the broker's ack timeout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from resonate_amqp.runtime.alarms import Alarm
from resonate_amqp.runtime.body import Body
from resonate_amqp.runtime.session import Session
from resonate_amqp.runtime.slots import Slots
from resonate_amqp.settings import Settings

SWEEP_MS = 1_000
SHORTEST_SWEEP_MS = 10


class Parking:
    """Looks at `bodies` at least once a second while there are any."""

    def __init__(
        self,
        session: Session,
        bodies: Mapping[str, Body],
        settings: Settings,
        swept: Callable[[int], None],
    ) -> None:
        self._session = session
        self._bodies = bodies
        self._slots = Slots(settings.prefetch, session.clock)
        self._park_after_ms = round(settings.park_after * 1000)
        self._hold_max_ms = round(settings.hold_max * 1000)
        shortest = min(self._park_after_ms, self._hold_max_ms) // 4
        self._every_ms = max(SHORTEST_SWEEP_MS, min(SWEEP_MS, shortest))
        self._swept = swept
        self._stopping = False
        self._sweeping = Alarm.none()
        self._recheck = Alarm.none()

    def arm(self) -> None:
        """There is something that grows older."""
        if not self._sweeping.pending:
            self._sweeping = self._session.later(self._every_ms, self._sweep, routine=True)

    def stop(self) -> None:
        """Park whatever waits, now and from now on; a TTL lease is given up."""
        self._stopping = True
        for body in list(self._bodies.values()):
            self.consider(body)

    def consider(self, body: Body) -> None:
        """Park a body that waits and has no reason to stay."""
        if body.waiting_since is None:
            return
        impatient = body.held.claim is not None and not body.held.claim.patient
        if body.moved or impatient or (self._stopping and body.held.fleeting):
            body.park()
        elif self._stopping:
            body.release(0)

    def make_room(self, in_use: int) -> None:
        """Park the longest waiting when no slot was free for some time."""
        to_free = self._slots.to_free(in_use, self._leaving)
        if to_free:
            waiting = [
                body
                for body in self._bodies.values()
                if body.waiting_since is not None and body.held.slot
            ]
            waiting.sort(key=lambda body: body.waiting_since or 0)
            for body in waiting[:to_free]:
                body.park()
        recheck_ms = self._slots.recheck_ms()
        if recheck_ms is not None and not self._recheck.pending:
            self._recheck = self._session.later(recheck_ms, lambda: None)

    def _leaving(self) -> int:
        return sum(body.finishing and body.held.slot for body in self._bodies.values())

    def _sweep(self) -> None:
        now = self._session.clock.monotonic()
        for body in list(self._bodies.values()):
            self._look_at(body, now)
        self._swept(self._hold_max_ms)
        if self._bodies:
            self.arm()

    def _look_at(self, body: Body, now: int) -> None:
        waited_ms = now - (now if body.waiting_since is None else body.waiting_since)
        resumable = body.moved or not self._stopping or body.held.fleeting
        leaves = body.moved or waited_ms >= self._park_after_ms
        if leaves and body.waiting_since is not None and resumable:
            body.park()
        elif body.held.delivery is not None and now - body.held.since >= self._hold_max_ms:
            parked = body.park()
            if not parked:
                body.move()
