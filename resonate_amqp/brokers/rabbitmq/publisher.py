"""Publisher: the channels of the publishing connection, and which publishes the broker has.

Confirms are matched by delivery tag; a returned message is told by the id it carries, because the
broker also confirms what it returned. After a nack the channel is replaced: on RabbitMQ 3.10
a channel that saw one nack from a quorum queue without a leader goes on refusing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import takewhile
from typing import Any, NamedTuple

import pika
from pika.channel import Channel
from pika.spec import Basic

from resonate_amqp.brokers.rabbitmq.properties import basic
from resonate_amqp.ports import Confirmed, Event, Unconfirmed
from resonate_amqp.wire.properties import PLAIN, Properties

_TOO_LARGE = re.compile(r"message size (\d+) is larger than configured max size")


class _Open(NamedTuple):
    """A publish that the broker has not answered for."""

    token: int
    size: int
    key: str
    message_id: str


class Publisher:
    """Publishes on one connection; `push` receives the outcomes, `ready` the first opening."""

    def __init__(
        self,
        connection: pika.SelectConnection,
        push: Callable[[Event], None],
        ready: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._push = push
        self._ready = ready
        self._plain: Channel | None = None
        self._confirming: Channel | None = None
        self._tag = 0
        self._open: dict[int, _Open] = {}
        self._returned: set[tuple[str, str]] = set()
        self._open_plain()
        self._open_confirming()

    def publish(
        self,
        exchange: str,
        key: str,
        body: bytes,
        *,
        persistent: bool,
        mandatory: bool,
        token: int,
        reply_to: str,
        properties: Properties = PLAIN,
    ) -> None:
        channel = self._confirming if token else self._plain
        if channel is None or not channel.is_open:
            if token:
                self._push(Unconfirmed((token,)))
            return
        message_id = properties.message_id or (str(token) if token else "")
        sent = basic(properties, persistent=persistent, reply_to=reply_to, message_id=message_id)
        if token:
            self._tag += 1
            self._open[self._tag] = _Open(token, len(body), key, message_id)
        channel.basic_publish(exchange, key, body, sent, mandatory)

    @property
    def open(self) -> bool:
        return all(c is not None and c.is_open for c in (self._plain, self._confirming))

    def lost(self) -> None:
        """The connection is gone: nothing that was open will be confirmed."""
        self._plain = None
        self._confirming = None
        self._fail_open()

    def _open_plain(self) -> None:
        self._connection.channel(on_open_callback=self._on_plain)

    def _on_plain(self, channel: Channel) -> None:
        self._plain = channel
        channel.add_on_return_callback(self._on_return)
        channel.add_on_close_callback(self._on_plain_closed)
        self._if_ready()

    def _on_plain_closed(self, channel: Channel, error: BaseException) -> None:
        if channel is self._plain:
            self._plain = None
        if not self._connection.is_open:
            return
        if getattr(error, "reply_code", 0) == 404:
            self._push(Unconfirmed((), str(getattr(error, "reply_text", error))))
        self._open_plain()

    def _open_confirming(self) -> None:
        self._connection.channel(on_open_callback=self._on_confirming)

    def _on_confirming(self, channel: Channel) -> None:
        channel.add_on_return_callback(self._on_return)
        channel.add_on_close_callback(self._on_confirming_closed)
        channel.confirm_delivery(self._on_confirm, callback=lambda _frame: self._confirms(channel))

    def _confirms(self, channel: Channel) -> None:
        self._confirming = channel
        self._tag = 0
        self._if_ready()

    def _on_confirming_closed(self, channel: Channel, error: BaseException) -> None:
        if channel is self._confirming:
            self._confirming = None
            self._fail_oversized(str(getattr(error, "reply_text", "")))
            self._fail_open()
        if self._connection.is_open:
            self._open_confirming()

    def _if_ready(self) -> None:
        if self.open:
            self._ready()

    def _on_return(
        self,
        _channel: Channel,
        method: Basic.Return,
        properties: pika.BasicProperties,
        _body: bytes,
    ) -> None:
        if properties.message_id:
            self._returned.add((method.routing_key, properties.message_id))
        else:
            self._push(Unconfirmed((), method.routing_key))

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        tags = [method.delivery_tag]
        if method.multiple:
            tags = list(takewhile(lambda tag: tag <= method.delivery_tag, self._open))
        settled = [self._open.pop(tag) for tag in tags if tag in self._open]
        if isinstance(method, Basic.Nack):
            self._push(Unconfirmed(tuple(one.token for one in settled)))
            if self._confirming is not None and self._confirming.is_open:
                self._confirming.close()
            return
        confirmed = []
        for one in settled:
            if (one.key, one.message_id) not in self._returned:
                confirmed.append(one.token)
            else:
                self._returned.discard((one.key, one.message_id))
                self._push(Unconfirmed((one.token,), one.key))
        if confirmed:
            self._push(Confirmed(tuple(confirmed)))

    def _fail_oversized(self, reason: str) -> None:
        """RabbitMQ closes the channel over a message beyond max_message_size, naming its size."""
        found = _TOO_LARGE.search(reason)
        if found is None:
            return
        size = int(found.group(1))
        too_large = [tag for tag, one in self._open.items() if one.size == size]
        tokens = tuple(self._open.pop(tag).token for tag in too_large)
        self._push(Unconfirmed(tokens, oversized=True))

    def _fail_open(self) -> None:
        tokens = tuple(one.token for one in self._open.values())
        self._open.clear()
        self._returned.clear()
        if tokens:
            self._push(Unconfirmed(tokens))
