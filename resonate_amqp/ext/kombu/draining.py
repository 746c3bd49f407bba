"""Draining: what is to be done on a py-amqp connection is done by the thread that drains it.

py-amqp connections are not for several threads, and a thread that waits in `drain_events` for the
next message cannot be asked for anything. So `drain_events` of this one connection waits for
the socket and for a pipe: what is posted is done at once, between two messages.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from amqp.exceptions import RecoverableConnectionError

log = logging.getLogger(__name__)

Job = Callable[[], None]

_finding = threading.Lock()


class Drain:
    """Replaces `drain_events`, `close` and `collect` of one connection until it is closed.

    `post` may be called from any thread, everything else from the one that drains.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._due: deque[Job] = deque()
        self._closed = False
        self._depth = 0
        self._beat_at = time.monotonic()
        self._openings: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._hears, self._wakes = os.pipe()
        os.set_blocking(self._hears, False)
        os.set_blocking(self._wakes, False)
        self._pipe = weakref.finalize(connection, _close_pipe, self._hears, self._wakes)
        self._drain, self._collect = connection.drain_events, connection.collect
        connection.drain_events = self._drain_events
        connection.close = self._first(connection.close)
        connection.collect = self._collecting

    def post(self, job: Job) -> bool:
        """Have something done between two messages; False if the connection is closed."""
        with self._lock:
            if self._closed or not self._pipe.alive:
                return False
            self._due.append(job)
            with contextlib.suppress(BlockingIOError):  # it is full of wakes already
                os.write(self._wakes, b"\0")
        return True

    def opening(self, channel: Any) -> int:
        """How often a channel was opened again; a delivery tag means something in one opening.

        py-amqp opens a channel that the broker has closed again, as the same object.
        """
        if channel not in self._openings:
            self._openings[channel] = 0
            before, openings = channel.on_open, self._openings

            def opened(again: Any) -> Any:
                openings[again] += 1
                return before(again)

            channel.on_open = opened
            channel.close = self._first(channel.close)
        return self._openings[channel]

    def keep_alive(self) -> None:
        """Send a heartbeat if one is due, from a callback that takes long; raises if it is lost."""
        heartbeat = getattr(self._connection, "heartbeat", 0) or 0
        if not heartbeat or time.monotonic() - self._beat_at < heartbeat / 3:
            return
        self._beat_at = time.monotonic()
        with contextlib.suppress(Exception):
            self._connection.send_heartbeat()
        self._check()

    @property
    def closed(self) -> bool:
        """Whether the connection was closed, and nothing can be done on it any more."""
        return self._closed

    @property
    def patience(self) -> float:
        """How long a callback may wait before it calls `keep_alive`, in seconds."""
        heartbeat = getattr(self._connection, "heartbeat", 0) or 0
        return min(1.0, heartbeat / 4) if heartbeat else 1.0

    def _drain_events(self, timeout: float | None = None) -> Any:
        """As py-amqp's: take in events until one is complete, or raise socket.timeout."""
        try:
            taken = self._take_in(timeout)
        except TimeoutError:
            self._check()
            raise
        self._check()
        return taken

    def _check(self) -> None:
        """Raise if a write found the connection lost.

        Kombu would open another one for the next drain, silently and without consumers.
        """
        if not self._closed and not self._connection.connected:
            raise RecoverableConnectionError("the connection was lost when a message was settled")

    def _take_in(self, timeout: float | None) -> Any:
        deadline = None if timeout is None else time.monotonic() + timeout
        self._depth += 1
        try:
            while True:
                self._do_due()
                if not self._connection.connected:
                    return self._drain(timeout)
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not self._readable(left):
                    continue
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if self._connection.blocking_read(left):
                    return None
        finally:
            self._do_due()
            self._depth -= 1

    def _readable(self, timeout: float | None) -> bool:
        """Wait until there is something to read; false if something is due first."""
        transport = self._connection.transport
        sock = transport.sock
        if transport._read_buffer or (hasattr(sock, "pending") and sock.pending()):
            return True
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        # A callback's own waiting is no place for what others have due.
        if self._depth == 1:
            poll.register(self._hears, select.POLLIN)
        ready = poll.poll(None if timeout is None else timeout * 1000)
        if not ready:
            raise TimeoutError
        if all(fd == self._hears for fd, _ in ready):
            with contextlib.suppress(BlockingIOError):
                os.read(self._hears, 4096)
            return False
        return True

    def _do_due(self) -> None:
        while self._depth == 1 and self._due:
            job = self._due.popleft()
            try:
                job()
            except Exception:
                log.exception("a message could not be settled")

    def _first(self, close: Callable[..., Any]) -> Callable[..., Any]:
        """Do what is due before something is closed."""

        def closing(*args: Any, **kwargs: Any) -> Any:
            if self._depth == 0 and self._connection.connected:
                self._depth = 1
                try:
                    self._do_due()
                finally:
                    self._depth = 0
            return close(*args, **kwargs)

        return closing

    def _collecting(self) -> Any:
        try:
            return self._collect()
        finally:
            with self._lock:
                self._closed = True
                self._due.clear()
                self._pipe()
            for replaced in ("drain_events", "close", "collect"):
                with contextlib.suppress(AttributeError):
                    delattr(self._connection, replaced)


def drain_of(connection: Any) -> Drain | None:
    """The drain of a py-amqp connection; None for other transports, which need none."""
    if not hasattr(connection, "blocking_read"):
        return None
    with _finding:
        drain: Drain | None = getattr(connection, "durable_drain", None)
        if drain is None or drain.closed:
            drain = connection.durable_drain = Drain(connection)
        return drain


def _close_pipe(*ends: int) -> None:
    for end in ends:
        os.close(end)
