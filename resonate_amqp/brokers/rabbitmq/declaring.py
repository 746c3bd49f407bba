"""Declaring: look first, on a channel of its own, and create only what is missing.

A failed declaration closes its channel, and a redeclaration with one other argument fails; so an
existing object is only ever looked at, and never on a channel that is needed afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import pika
from pika.channel import Channel

from resonate_amqp.wire.topology import Exchange, Queue

_looking: WeakSet[Channel] = WeakSet()
"""Channels that may be closed because what they look for is not there."""


class _Expected(logging.Filter):
    """Leaves out what pika tells of such a channel: nothing is wrong, and a log would alarm."""

    def filter(self, record: logging.LogRecord) -> bool:
        args = record.args if isinstance(record.args, tuple) else ()
        return not any(isinstance(one, Channel) and one in _looking for one in args)


logging.getLogger("pika.channel").addFilter(_Expected())

Done = Callable[[str], None]
"""Called with an empty string when the object is there, else with the broker's reason."""


def ensure(
    connection: pika.SelectConnection, thing: Queue | Exchange, *, passive: bool, done: Done
) -> None:
    """Make sure that an object and its bindings exist, then call `done` once."""
    _Attempt(connection, thing, passive, done).look()


def measure(
    connection: pika.SelectConnection, queue: str, done: Callable[[int | None, int | None], None]
) -> None:
    """Tell how many messages wait in a queue and how many consumers it has; None: no such queue."""

    def closed(_channel: Channel, error: BaseException) -> None:
        if getattr(error, "reply_code", 0) == 404:
            done(None, None)

    def opened(channel: Channel) -> None:
        def declared(frame: Any) -> None:
            done(int(frame.method.message_count), int(frame.method.consumer_count))
            channel.close()

        channel.add_on_close_callback(closed)
        _looking.add(channel)
        channel.queue_declare(queue, passive=True, callback=declared)

    connection.channel(on_open_callback=opened)


class _Attempt:
    def __init__(
        self,
        connection: pika.SelectConnection,
        thing: Queue | Exchange,
        passive: bool,
        done: Done,
    ) -> None:
        self._connection = connection
        self._thing = thing
        self._passive = passive
        self._done: Done | None = done

    def look(self) -> None:
        self._on_channel(lambda channel: self._declare(channel, passive=True), self._not_seen)

    def _not_seen(self, code: int, reason: str) -> None:
        if code == 404 and not self._passive:
            self._on_channel(lambda channel: self._declare(channel, passive=False), self._refused)
        elif code == 403:
            # Some releases demand rights for a passive declare that consuming does not need.
            self._finish("")
        else:
            self._refused(code, reason)

    def _refused(self, code: int, reason: str) -> None:
        if code == 404 and self._passive:
            reason += "; with topology=passive it has to be created by an operator"
        self._finish(reason)

    def _declare(self, channel: Channel, *, passive: bool) -> None:
        thing = self._thing
        if passive and not self._passive:
            _looking.add(channel)

        def next_step(_frame: Any) -> None:
            self._bind(channel, _links(thing))

        if isinstance(thing, Exchange):
            channel.exchange_declare(
                thing.name, "direct", passive=passive, durable=True, callback=next_step
            )
        else:
            channel.queue_declare(
                thing.name,
                passive=passive,
                durable=thing.durable,
                exclusive=thing.exclusive,
                arguments=self._arguments(thing) or None,
                callback=next_step,
            )

    def _arguments(self, queue: Queue) -> dict[str, Any]:
        """The queue's own; since 4.0 a quorum queue would drop what was returned 20 times."""
        arguments = dict(queue.arguments)
        properties = self._connection.server_properties or {}
        release = str(properties.get("version", "0")).partition(".")[0]
        if arguments.get("x-queue-type") == "quorum" and release.isdigit() and int(release) >= 4:
            arguments["x-delivery-limit"] = -1
        return arguments

    def _bind(self, channel: Channel, left: list[tuple[bool, str, str]]) -> None:
        if not left or self._passive:
            self._finish("")
            if channel.is_open:
                channel.close()
            return
        bound, exchange, key = left.pop()
        link = channel.queue_bind if bound else channel.queue_unbind
        link(self._thing.name, exchange, key, callback=lambda _frame: self._bind(channel, left))

    def _on_channel(
        self, use: Callable[[Channel], None], failed: Callable[[int, str], None]
    ) -> None:
        def closed(_channel: Channel, error: BaseException) -> None:
            if self._done is not None and self._connection.is_open:
                failed(getattr(error, "reply_code", 0), str(getattr(error, "reply_text", error)))

        def opened(channel: Channel) -> None:
            channel.add_on_close_callback(closed)
            use(channel)

        if self._connection.is_open:
            self._connection.channel(on_open_callback=opened)

    def _finish(self, reason: str) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(reason)


def _links(thing: Queue | Exchange) -> list[tuple[bool, str, str]]:
    """What is to be bound (true) and unbound, the last of it first."""
    if isinstance(thing, Exchange):
        return []
    unbound = [(False, exchange, key) for exchange, key in thing.unbound]
    return unbound + [(True, exchange, key) for exchange, key in thing.bindings]
