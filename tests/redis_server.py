"""A Redis server of the tests' own: loopback only, nothing on disk, gone with its owner."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import redis

from resonate_amqp.dev.loopback import HOST, free_ports

START_S = 20.0
POLL_S = 0.01

# Ends the server when the owner's end of the pipe closes, however the owner died.
GUARD = 'cat >/dev/null; kill -9 "$1" 2>/dev/null'


class PrivateRedis:
    """A redis-server process that belongs to this process and is empty at first.

    `folder` receives its log. The port stays the same for the life of the object.
    """

    def __init__(self, program: str, folder: Path) -> None:
        self.program = program
        (self._port,) = free_ports(1)
        self._log = folder / "redis.log"
        with self._log.open("wb") as log:
            self._server = subprocess.Popen(
                [
                    program,
                    *("--port", str(self._port), "--bind", HOST, "--dir", str(folder)),
                    *("--save", "", "--appendonly", "no", "--daemonize", "no"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", str(self._server.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self._await_answer()

    @property
    def url(self) -> str:
        """The url of its first database."""
        return f"redis://{HOST}:{self._port}/0"

    def empty(self) -> None:
        """Forget everything."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def stop(self) -> None:
        """End the server."""
        self._guard.kill()
        self._guard.wait()
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        self._server.kill()
        self._server.wait()

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_S
        with redis.Redis.from_url(self.url, retry=None) as client:
            while True:
                try:
                    client.ping()
                except redis.ConnectionError as error:
                    if self._server.poll() is not None or time.monotonic() > deadline:
                        self.stop()
                        words = self._log.read_text(encoding="utf-8", errors="replace")
                        raise RuntimeError(f"redis-server did not start:\n{words}") from error
                    time.sleep(POLL_S)
                else:
                    return
