"""Claiming: how messages of queues that are not ours become durable promises of this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Self

from resonate_amqp.core.model import origin_of
from resonate_amqp.resonate.call import CallOptions, Calls
from resonate_amqp.resonate.configured import Configured
from resonate_amqp.resonate.kombu_urls import url_of
from resonate_amqp.resonate.node import Node
from resonate_amqp.runtime.claims import Claim, Claimed, Settled
from resonate_amqp.runtime.commands import Seconds
from resonate_amqp.runtime.locally import AS_EVER, LocalSteps
from resonate_amqp.runtime.registry import Registry
from resonate_amqp.wire.address import check_id


class Claiming(Configured):
    """What class Resonate offers to the integrations of Kombu and Celery."""

    _registry: Registry
    _stopped: threading.Event

    @classmethod
    def from_kombu(cls, connection: Any, **settings: Any) -> Self:
        """An instance on the broker of a Kombu connection: its urls, TLS and socket options.

        Opens connections of its own and leaves the given one alone. Settings are those of
        Resonate. Raises UsageError for a connection that cannot be taken over.
        """
        make: Callable[..., Self] = cls
        return make(url_of(connection), **settings)

    @property
    def stopped(self) -> bool:
        """Whether this instance was stopped and takes nothing any more."""
        return self._stopped.is_set()

    def consume(self) -> None:
        """Take tasks of the own group, as `start` does, for as long as the process lives."""
        if not self.stopped:
            self._joined().start()

    def claim(
        self,
        promise_id: str,
        func: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        told: Callable[[Claimed], None],
        target: str | None = None,
        redelivered: bool = False,
        patient: bool = True,
        timeout: Seconds | None = None,
        tags: Mapping[str, str] | None = None,
        message: Mapping[str, Any] | None = None,
        noted: Mapping[str, str] | None = None,
        steps: LocalSteps = AS_EVER,
    ) -> None:
        """Create a promise, if need be, and run its function in this process.

        The function has to be registered here; `target` is where the task is offered when it does
        not end here, the own group if not given. With `message` a target of a foreign queue gets
        that one again; `steps` say how its local functions run. `noted` stands in the headers of
        the promise's param. A promise that is there already and is one of another function, or of
        another `digest` in these, is a Conflict.

        `told` is called on the node's thread, and must neither block nor raise: first with Begun,
        Settled, Elsewhere or Failed, after Begun with Settled or Left; with Failed as well when
        this instance is stopped. Until then a ledger that does not answer is asked again. Raises
        UsageError for a call that cannot be.
        """
        node = self._joined()
        options = CallOptions(target=target, timeout=timeout, tags=tags or {})
        calls = Calls(self._registry, self.settings, options)
        root = origin_of(promise_id)
        create = calls.create(node.session.now(), root, func, args, kwargs, message)
        if noted:
            param = replace(create.param, headers={**create.param.headers, **noted})
            create = replace(create, param=param)
        if promise_id != root:
            # What a durable function calls in a foreign queue has its promise already.
            create = replace(create, id=check_id(promise_id))
        node.claim(Claim(create, told, redelivered, patient, steps))

    def watch(self, promise_id: str, told: Callable[[Settled], None]) -> None:
        """Tell, on the node's thread, once a promise is settled."""
        self._joined().watch(promise_id, told)

    def dead_letter(self, body: bytes, reason: str, queue: str, done: Callable[[], None]) -> None:
        """Put a message of another queue aside; `done` is told once the broker has confirmed it.

        `done` is called on the node's thread, and must neither block nor raise.
        """
        self._joined().dead_letter(body, reason, queue, done)

    def _joined(self) -> Node:
        raise NotImplementedError
