"""Refresh: keeps the leases of this process alive, with one request for each shard."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from resonate_amqp.core.leases import DOUBT_MS
from resonate_amqp.core.requests import Lease, TaskHeartbeat
from resonate_amqp.errors import ResonateError
from resonate_amqp.runtime.alarms import Alarm
from resonate_amqp.runtime.body import Body
from resonate_amqp.runtime.session import Session
from resonate_amqp.wire.address import shard_key
from resonate_amqp.wire.envelope import Reply

TTL_MS = DOUBT_MS // 3


class Refresh:
    """Refreshes `bodies` every `refresh_s` seconds; TTL leases so often that a doubt ends none."""

    def __init__(self, session: Session, bodies: Mapping[str, Body], refresh_s: float) -> None:
        self._session = session
        self._bodies = bodies
        self._every_ms = round(refresh_s * 1000)
        self._beating = Alarm.none()
        self._due_at = 0
        self._groups: list[str] = []

    def arm(self, *, ttl: bool = False) -> None:
        """There is a lease to be kept; `ttl` when it is one without a delivery."""
        ttl_ms = min(self._every_ms, self._session.ttl_ms // 3, TTL_MS)
        every_ms = ttl_ms if ttl else self._every_ms
        due_at = self._session.clock.monotonic() + every_ms
        if self._beating.pending and self._due_at <= due_at:
            return
        self._beating.cancel()
        self._due_at = due_at
        self._beating = self._session.later(every_ms, self._beat)

    def _beat(self) -> None:
        for group in self._groups:
            self._session.calls.drop(group)
        self._groups.clear()
        shards: dict[str, list[Lease]] = defaultdict(list)
        for body in self._bodies.values():
            if body.acquired:
                lease = Lease(id=body.id, version=body.held.version, holder=body.held.holder)
                shards[shard_key(body.id)].append(lease)
        for leases in shards.values():
            step = TaskHeartbeat(pid=self._session.pid, tasks=tuple(leases))
            self._groups.append(self._session.calls.send([step], self._beaten, about=leases[0].id))
        if self._bodies:
            self.arm(ttl=any(body.held.delivery is None for body in self._bodies.values()))

    def _beaten(self, reply: Reply | ResonateError) -> None:
        """Drop what the ledger calls lost, unless its own end is on the way there."""
        if isinstance(reply, ResonateError):
            return
        lost = set(reply.responses[0].lost)
        for body in list(self._bodies.values()):
            if body.held.holder in lost and not body.finishing:
                body.drop()
