"""Early: bodies that start before their acquire is answered, when nobody else can have begun.

The acquire then travels with the body's first group, or goes alone after a moment; that saves a
trip and a commit a call.
"""

from __future__ import annotations

from resonate_amqp.core.model import Promise
from resonate_amqp.errors import Encoding
from resonate_amqp.ports import Delivery
from resonate_amqp.runtime.body import Body
from resonate_amqp.runtime.doorstep import Doorstep
from resonate_amqp.runtime.registry import Registry
from resonate_amqp.runtime.session import Session
from resonate_amqp.wire.codec import decode_call
from resonate_amqp.wire.envelope import ExecuteMessage

WITHIN_MS = 1_000
KNOCK_MS = 50


class Early:
    """At most one such body a promise."""

    def __init__(self, session: Session, registry: Registry, doorstep: Doorstep) -> None:
        self._session = session
        self._registry = registry
        self._doorstep = doorstep
        self._bodies: dict[str, Body] = {}
        self._copies: dict[str, list[tuple[int, Delivery]]] = {}

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

    def hold(self, message: ExecuteMessage, delivery: Delivery) -> None:
        """Keep another offer of a task under way until it is known whether that one holds it."""
        self._doorstep.hold(delivery)
        self._copies.setdefault(message.promise.id, []).append((message.version, delivery))
        self._look_again(message.promise.id)

    def ended(self, body: Body) -> None:
        if self._bodies.get(body.id) is body:
            del self._bodies[body.id]
            self._dismiss(body)

    def _look_again(self, promise_id: str) -> None:
        self._session.later(KNOCK_MS, lambda: self._look(promise_id))

    def _look(self, promise_id: str) -> None:
        body = self._bodies.get(promise_id)
        if body is None or promise_id not in self._copies:
            return
        if body.acquired:
            self._dismiss(body)
        else:
            self._look_again(promise_id)

    def _dismiss(self, body: Body) -> None:
        """An offer of a version acquired since is void; of any other the ledger has to say it."""
        for version, delivery in self._copies.pop(body.id, ()):
            void = body.acquired and version < body.held.version
            self._doorstep.dismiss(delivery, void=void)

    def _runnable(self, promise: Promise) -> bool:
        try:
            call = decode_call(promise.param)
        except Encoding:
            return False
        return self._registry.find(call.func, call.version) is not None
