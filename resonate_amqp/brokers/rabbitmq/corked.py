"""CorkedConnection: everything one turn has to say is one write to the socket.

pika sends each frame by a system call of its own, three for every message, and the broker wakes
for each of them. Frames are held here until `uncork`, which the owner calls before it polls.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from pika.adapters.select_connection import SelectConnection


class CorkedConnection(SelectConnection):  # type: ignore[misc]  # pika is untyped
    """A SelectConnection that sends only on `uncork`; nothing leaves it otherwise."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._corked: list[bytes] = []
        super().__init__(*args, **kwargs)

    def uncork(self) -> None:
        """Send what was held as one piece, as far as the socket takes it now."""
        if self._corked:
            held, self._corked = b"".join(self._corked), []
            if not self.is_closed:
                super()._adapter_emit_data(held)
                self._send_now()

    def abort(self) -> None:
        """Cut the connection without a word, with what was written and not sent."""
        self._corked.clear()
        if self._transport is not None:
            with contextlib.suppress(OSError):
                self._transport._sock.shutdown(socket.SHUT_RDWR)

    def _send_now(self) -> None:
        """pika would send when its loop polls: several connections in whatever order it finds."""
        transport = self._transport
        if transport is not None and transport.get_write_buffer_size():
            transport._on_socket_writable()

    def _adapter_emit_data(self, data: bytes) -> None:
        self._corked.append(data)
