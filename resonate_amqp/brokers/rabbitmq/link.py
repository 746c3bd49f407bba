"""Link: one connection to RabbitMQ, kept up on a given I/O loop.

It goes through the urls in turn and waits 0.1 s, doubling to 5 s, between attempts. What happens
to channels is their owners' business.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import pika
from pika.adapters.select_connection import IOLoop
from pika.adapters.utils.selector_ioloop_adapter import SelectorIOServicesAdapter
from pika.exceptions import (
    AMQPConnectionError,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from resonate_amqp.brokers.rabbitmq.corked import CorkedConnection

log = logging.getLogger(__name__)

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 5.0
_TURNED_AWAY = (ProbableAuthenticationError, ProbableAccessDeniedError)


class Services(SelectorIOServicesAdapter):  # type: ignore[misc]  # pika is untyped
    """What a connection needs of the loop; a peer that hangs up early only fails the attempt."""

    def create_streaming_connection(
        self, *args: Any, on_done: Callable[..., None], **kw: Any
    ) -> Any:
        """pika's; answers what can be cancelled."""
        try:
            return super().create_streaming_connection(*args, on_done=on_done, **kw)
        except ValueError:
            # pika finds the socket no longer connected, and lets that end the whole loop.
            gone = ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            return self.call_later(0, functools.partial(on_done, gone))


class Link:
    """Keeps one connection; `opened(connection)` and `lost(reason, refused)` tell its owner.

    `refused` only once every url was refused in turn.
    """

    def __init__(
        self,
        loop: IOLoop,
        parameters: Sequence[pika.connection.Parameters],
        opened: Callable[[CorkedConnection], None],
        lost: Callable[[str, bool], None],
        blocked: Callable[[bool], None],
    ) -> None:
        self._loop = loop
        self._parameters = parameters
        self._opened = opened
        self._lost = lost
        self._blocked = blocked
        self._attempt = 0
        self._refusals = 0
        self._wait_s = FIRST_WAIT_S
        self._closing = False
        self._connection: CorkedConnection | None = None
        self._connect()

    def close(self) -> None:
        """Close for good; answers no more."""
        self._closing = True
        connection = self._connection
        if connection is not None and not (connection.is_closing or connection.is_closed):
            connection.close()

    def uncork(self) -> None:
        """Send what was written since the last time."""
        if self._connection is not None:
            self._connection.uncork()

    def abort(self) -> None:
        """Lose the connection as if its cable were cut; another one is made."""
        if self._connection is not None and self._connection.is_open:
            self._connection.abort()

    @property
    def closed(self) -> bool:
        return self._connection is None or self._connection.is_closed

    def _connect(self) -> None:
        if self._closing:
            return
        parameters = self._parameters[self._attempt % len(self._parameters)]
        self._attempt += 1
        self._connection = CorkedConnection(
            parameters,
            on_open_callback=self._on_open,
            on_open_error_callback=self._on_open_error,
            on_close_callback=self._on_close,
            custom_ioloop=Services(self._loop),
        )

    def _on_open(self, connection: pika.connection.Connection) -> None:
        assert isinstance(connection, CorkedConnection)
        self._wait_s = FIRST_WAIT_S
        self._refusals = 0
        connection.add_on_connection_blocked_callback(lambda *_: self._blocked(True))
        connection.add_on_connection_unblocked_callback(lambda *_: self._blocked(False))
        self._opened(connection)

    def _on_open_error(self, _connection: object, error: BaseException | str) -> None:
        self._again(error)

    def _on_close(self, _connection: object, error: BaseException) -> None:
        self._again(error)

    def _again(self, error: BaseException | str) -> None:
        if self._closing:
            return
        self._connection = None
        reason, refused = _explained(error)
        self._refusals = self._refusals + 1 if refused else 0
        self._lost(reason, self._refusals >= len(self._parameters))
        self._loop.call_later(self._wait_s, self._connect)
        self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)


def _explained(error: object) -> tuple[str, bool]:
    """A reason an operator can act on, and whether the broker turned us away."""
    error = _innermost(error)
    if isinstance(error, _TURNED_AWAY):
        return f"the broker refused user, password or virtual host ({error})", True
    if isinstance(error, ConnectionClosedByBroker):
        refused = error.reply_code in (403, 530)
        return f"the broker closed the connection: {error.reply_text}", refused
    if isinstance(error, OSError) and error.strerror:
        return error.strerror, False
    return str(error) or type(error).__name__, False


def _innermost(error: object) -> object:
    """What pika has wrapped, in one error for each stage of connecting."""
    while True:
        inner = getattr(error, "exception", None) or getattr(error, "exceptions", [None])[-1]
        if inner is None and isinstance(error, AMQPConnectionError) and error.args:
            inner = error.args[0] if isinstance(error.args[0], BaseException) else None
        if inner is None:
            return error
        error = inner
