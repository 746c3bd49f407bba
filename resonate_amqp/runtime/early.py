"""Early: bodies that start before their acquire is answered, when nobody else can have begun.

The acquire then travels with the body's first group, or goes alone after a moment; that saves a
trip and a commit a call.
"""

from __future__ import annotations

from resonate_amqp.core.model import Promise
from resonate_amqp.errors import Encoding
from resonate_amqp.ports import Delivery
from resonate_amqp.runtime.body import Body
from resonate_amqp.runtime.registry import Registry
from resonate_amqp.runtime.session import Session
from resonate_amqp.wire.codec import decode_call
from resonate_amqp.wire.envelope import ExecuteMessage

WITHIN_MS = 1_000
KNOCK_MS = 50


class Early:
    """At most one such body a promise."""

    def __init__(self, session: Session, registry: Registry) -> None:
        self._session = session
        self._registry = registry
        self._bodies: dict[str, Body] = {}

    def allows(self, message: ExecuteMessage, delivery: Delivery) -> bool:
        """Whether this is a first offer, first delivered, fresh, and of a function known here.

        Its age is told by the ledger's clock, so before a first reply nothing starts early.
        """
        fresh = self._session.synchronised and self._session.now() - message.now < WITHIN_MS
        again = delivery.redelivered or message.repeat or message.version > 0
        return fresh and not again and self._runnable(message.promise)

    def add(self, body: Body) -> None:
        """A body was started early."""
        self._bodies[body.id] = body
        self._session.later(KNOCK_MS, body.knock)

    def under_way(self, promise_id: str) -> bool:
        """Whether it was started here and is not acquired yet: a second one must wait for that."""
        body = self._bodies.get(promise_id)
        return body is not None and not body.acquired

    def ended(self, body: Body) -> None:
        if self._bodies.get(body.id) is body:
            del self._bodies[body.id]

    def _runnable(self, promise: Promise) -> bool:
        try:
            call = decode_call(promise.param)
        except Encoding:
            return False
        return self._registry.find(call.func, call.version) is not None
