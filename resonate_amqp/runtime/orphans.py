"""Orphans: bodies whose lease is lost and whose leaf goes on, or has ended unrecorded.

The broker has given the message to somebody. When that is this process again, the body goes on
where it is, so that a long leaf is not run twice for a broken connection.
"""

from __future__ import annotations

from resonate_amqp.core.model import Promise
from resonate_amqp.errors import Malformed
from resonate_amqp.ports import Delivery
from resonate_amqp.runtime.body import Body
from resonate_amqp.runtime.held import Held
from resonate_amqp.runtime.session import Session
from resonate_amqp.wire.envelope import decode_execute

LONGEST_MS = 60_000
"""How long an ended leaf waits for its task to come back."""


class Orphans:
    """At most one body a promise."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._bodies: dict[str, tuple[Body, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._bodies)

    def slots(self) -> int:
        """How many slots they take: an ended leaf needs none."""
        return sum(bool(body.running) for body, _ in self._bodies.values())

    def expect(self, delivery: Delivery) -> bool:
        """Whether one of them could go on by this delivery."""
        if not self._bodies:
            return False
        try:
            return decode_execute(delivery.body).promise.id in self._bodies
        except Malformed:
            return False

    def add(self, body: Body) -> None:
        self.drop(body.id)
        self._bodies[body.id] = (body, self._session.clock.monotonic())

    def take(self, held: Held, preload: tuple[Promise, ...]) -> Body | None:
        """The body that may go on under this lease; any other of the task is dropped."""
        body, _ = self._bodies.pop(held.id, (None, 0))
        if body is not None and not body.adoptable(held.version, preload):
            body.drop()
            return None
        return body

    def drop(self, promise_id: str) -> None:
        body, _ = self._bodies.pop(promise_id, (None, 0))
        if body is not None:
            body.drop()

    def sweep(self) -> None:
        """Drop those whose leaf has ended and whose task went elsewhere."""
        before = self._session.clock.monotonic() - LONGEST_MS
        for promise_id, (body, since) in list(self._bodies.items()):
            if since <= before and not body.running:
                self.drop(promise_id)
