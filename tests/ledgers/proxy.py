"""A TCP proxy in front of a PostgreSQL server: cuts, swallows, and cuts at a COMMIT."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from enum import Enum
from urllib.parse import urlsplit

CHUNK = 65_536
COMMIT = b"COMMIT\0"


class Cut(Enum):
    """Where a connection ends that commits."""

    BEFORE = "before the server hears of it"
    AFTER = "before the server's answer comes back"


class Proxy:
    """Forwards connections to the server of `url`; `url` of the proxy leads through it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._to = (parts.hostname or "localhost", parts.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        login = parts.netloc.rpartition("@")[0]
        query = "&".join(filter(None, [parts.query, "sslmode=disable"]))
        self.url = parts._replace(netloc=f"{login}@127.0.0.1:{port}", query=query).geturl()
        self.commits = 0
        """COMMITs seen so far."""
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._refusing = False
        self._passing = threading.Event()
        self._passing.set()
        self._cuts: list[Cut] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close every connection, and every new one, until `restore`."""
        self._refusing = True
        self.drop()

    def drop(self) -> None:
        """Close every connection once."""
        with self._lock:
            open_now, self._open = self._open, set()
        for one in open_now:
            _close(one)

    def swallow(self) -> None:
        """Forward nothing more, and close nothing, until `restore`."""
        self._passing.clear()

    def restore(self) -> None:
        self._refusing = False
        self._passing.set()

    def cut_at_commits(self, *cuts: Cut) -> None:
        """Cut the connections of the next so many commits."""
        self._cuts.extend(cuts)

    def close(self) -> None:
        self._listener.close()
        self.cut()
        self._passing.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                _close(client)
                continue
            try:
                server = socket.create_connection(self._to)
            except OSError:
                _close(client)
                continue
            with self._lock:
                self._open |= {client, server}
            doomed = threading.Event()
            for source, sink, see in (
                (client, server, self._asked),
                (server, client, self._answered),
            ):
                threading.Thread(
                    target=self._forward, args=(source, sink, see, doomed), daemon=True
                ).start()

    def _forward(
        self,
        source: socket.socket,
        sink: socket.socket,
        see: Callable[[bytes, threading.Event], bool],
        doomed: threading.Event,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                self._passing.wait()
                if not see(data, doomed):
                    break
                sink.sendall(data)
        for one in (source, sink):
            _close(one)
            with self._lock:
                self._open.discard(one)

    def _asked(self, data: bytes, doomed: threading.Event) -> bool:
        """Whether to pass on what the client says."""
        if COMMIT not in data:
            return True
        self.commits += 1
        cut = self._cuts.pop(0) if self._cuts else None
        if cut is Cut.AFTER:
            doomed.set()
        return cut is not Cut.BEFORE

    def _answered(self, _data: bytes, doomed: threading.Event) -> bool:
        """Whether to pass on what the server says; of a doomed connection it was the last."""
        return not doomed.is_set()


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
