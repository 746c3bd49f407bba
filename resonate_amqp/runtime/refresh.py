"""Refresh: keeps the leases of this process alive, all of them with one request."""

from __future__ import annotations

from collections.abc import Mapping

from resonate_amqp.core.requests import Lease, TaskHeartbeat
from resonate_amqp.errors import ResonateError
from resonate_amqp.runtime.body import Body
from resonate_amqp.runtime.session import Session
from resonate_amqp.wire.envelope import Reply

TTL_REFRESH_MS = 20_000


class Refresh:
    """Refreshes `bodies` every `refresh_s` seconds, TTL leases at least every 20 s."""

    def __init__(self, session: Session, bodies: Mapping[str, Body], refresh_s: float) -> None:
        self._session = session
        self._bodies = bodies
        self._every_ms = round(refresh_s * 1000)
        self._armed = False
        self._group = ""

    def arm(self) -> None:
        """There is a lease to be kept."""
        if self._armed or not self._bodies:
            return
        self._armed = True
        by_ttl = any(body.held.delivery is None for body in self._bodies.values())
        every_ms = min(self._every_ms, TTL_REFRESH_MS) if by_ttl else self._every_ms
        self._session.later(every_ms, self._beat)

    def _beat(self) -> None:
        self._armed = False
        if self._group:
            self._session.calls.drop(self._group)
            self._group = ""
        leases = tuple(
            Lease(id=body.id, version=body.held.version, holder=body.held.holder)
            for body in self._bodies.values()
        )
        if leases:
            step = TaskHeartbeat(pid=self._session.pid, tasks=leases)
            self._group = self._session.calls.send([step], self._beaten, about=leases[0].id)
        self.arm()

    def _beaten(self, reply: Reply | ResonateError) -> None:
        """Drop what the ledger calls lost, unless its own end is on the way there."""
        self._group = ""
        if isinstance(reply, ResonateError):
            return
        lost = set(reply.responses[0].lost)
        for body in list(self._bodies.values()):
            if body.held.holder in lost and not body.finishing:
                body.drop()
