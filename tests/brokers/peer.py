"""A peer that speaks enough of AMQP for a RabbitBroker, in the thread of the test.

It answers what a broker answers at once, delivers what it is told to, and says in which order
pieces of data were handed to the sockets.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pika
from pika import frame, spec

Answer = Callable[[Any], Any]

_ANSWERS: dict[type, Answer] = {
    spec.Connection.StartOk: lambda _: spec.Connection.Tune(2047, 131_072, 0),
    spec.Connection.Open: lambda _: spec.Connection.OpenOk(),
    spec.Connection.Close: lambda _: spec.Connection.CloseOk(),
    spec.Channel.Open: lambda _: spec.Channel.OpenOk(),
    spec.Channel.Close: lambda _: spec.Channel.CloseOk(),
    spec.Confirm.Select: lambda _: spec.Confirm.SelectOk(),
    spec.Basic.Qos: lambda _: spec.Basic.QosOk(),
    spec.Basic.Consume: lambda method: spec.Basic.ConsumeOk(method.consumer_tag),
    spec.Queue.Declare: lambda method: spec.Queue.DeclareOk(method.queue, 0, 0),
}
_GREETING = len(b"AMQP\x00\x00\x09\x01")


class _Connection:
    """One accepted connection; `name` is what the client calls it."""

    def __init__(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        self.socket = accepted
        self.name = ""
        self.consuming: tuple[int, str] | None = None
        self.methods: list[Any] = []
        """What was asked, the handshake included."""
        self._data = b""
        self._greeted = False
        self._tags = 0

    def turn(self) -> None:
        """Take in what came, and answer it."""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self._data += self.socket.recv(1 << 20)
        if not self._greeted:
            if len(self._data) < _GREETING:
                return
            self._greeted = True
            self._data = self._data[_GREETING:]
            properties = {"capabilities": {"basic.nack": True, "publisher_confirms": True}}
            self._say(0, spec.Connection.Start(server_properties=properties, mechanisms="PLAIN"))
        while self._data:
            size, decoded = frame.decode_frame(self._data)
            if decoded is None:
                return
            self._data = self._data[size:]
            if isinstance(decoded, frame.Method):
                self._take(decoded.channel_number, decoded.method)

    def deliver(self, *bodies: bytes) -> None:
        """Deliver to the one consumer of this connection."""
        assert self.consuming is not None
        channel, consumer_tag = self.consuming
        for body in bodies:
            self._tags += 1
            self._say(channel, spec.Basic.Deliver(consumer_tag, self._tags, False, "", "work"))
            self._send(frame.Header(channel, len(body), pika.BasicProperties()))
            self._send(frame.Body(channel, body))

    def _take(self, channel: int, method: Any) -> None:
        self.methods.append(method)
        if isinstance(method, spec.Connection.StartOk):
            self.name = method.client_properties["connection_name"]
        if isinstance(method, spec.Basic.Consume):
            self.consuming = (channel, method.consumer_tag)
        answer = _ANSWERS.get(type(method))
        if answer is not None:
            self._say(channel, answer(method))

    def _say(self, channel: int, method: Any) -> None:
        self._send(frame.Method(channel, method))

    def _send(self, said: Any) -> None:
        self.socket.sendall(said.marshal())


class Peer:
    """Listens on a port of its own for the two connections of a RabbitBroker."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._connections: list[_Connection] = []
        self.url = f"amqp://guest:guest@127.0.0.1:{self._listener.getsockname()[1]}/"

    def turn(self) -> None:
        """Do what there is to do, without waiting."""
        with contextlib.suppress(BlockingIOError):
            self._connections.append(_Connection(self._listener.accept()[0]))
        for connection in self._connections:
            connection.turn()

    def connection(self, purpose: str) -> _Connection:
        """The connection whose name ends so: `consume` or `publish`."""
        [found] = [one for one in self._connections if one.name.endswith(purpose)]
        return found

    def close(self) -> None:
        for connection in self._connections:
            connection.socket.close()
        self._listener.close()

    @contextlib.contextmanager
    def order_of_sends(self) -> Iterator[list[str]]:
        """The purposes of the connections to which data is sent, in the order of the sends."""
        purposes = {one.socket.getpeername(): one.name.split()[-1] for one in self._connections}
        sent: list[str] = []

        def called(_frame: FrameType, event: str, what: Any) -> None:
            if event == "c_call" and getattr(what, "__name__", "") == "send":
                owner = getattr(what, "__self__", None)
                if isinstance(owner, socket.socket) and owner.getsockname() in purposes:
                    sent.append(purposes[owner.getsockname()])

        before = sys.getprofile()
        sys.setprofile(called)
        try:
            yield sent
        finally:
            sys.setprofile(before)
