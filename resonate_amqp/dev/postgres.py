"""A PostgreSQL server of one's own: loopback only, in a temporary directory, gone with its owner.

It shares nothing with a server that the system may run. PostgreSQL refuses to run as root: then
the server belongs to the user `postgres`, or to `nobody`.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from resonate_amqp.dev.databases import TEST_LEDGER, Databases
from resonate_amqp.dev.loopback import HOST, free_ports
from resonate_amqp.errors import LedgerUnavailable

# Debian keeps each release's programs in a place of their own, outside PATH.
PLACE = Path("/usr/lib/postgresql")

_USER = "resonate"
_POLL = 0.02
_GRACE = 15.0
_INITDB_TIMEOUT = 60.0

# Ends the server when the owner's end of the pipe closes, however the owner died.
_GUARD = """
cat >/dev/null
kill -QUIT "$1" 2>/dev/null
for _ in $(seq 50); do [ -e "$2/data/postmaster.pid" ] || break; sleep 0.1; done
kill -9 "$1" 2>/dev/null
rm -rf "$2"
"""

# A crash of the machine is not what a private server is for; a crash of its processes is.
_CONFIGURATION = """
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
fsync = off
full_page_writes = off
{configuration}
"""


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs that a private server is made of."""

    server: Path
    initdb: Path


def find(place: Path | None = None) -> Programs:
    """The programs installed here; raises LedgerUnavailable, naming the remedy, when missing."""
    releases = sorted((place or PLACE).glob("*/bin"), key=_release, reverse=True)
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *map(str, releases)])
    server, initdb = (shutil.which(name, path=path) for name in ("postgres", "initdb"))
    if server is None or initdb is None:
        raise LedgerUnavailable(
            "PostgreSQL is not installed here: install the server (`make system`, or "
            f"`apt-get install postgresql`), or set {TEST_LEDGER} to a server's url"
        )
    return Programs(Path(server), Path(initdb))


class PrivatePostgres:
    """A postgres process that belongs to this process; its data stay until `stop`.

    `configuration` is added to postgresql.conf. The port stays the same for the life of the
    object. `start_timeout` is in seconds. Not for use by several threads at once.
    """

    def __init__(
        self,
        *,
        configuration: str = "",
        start_timeout: float = 60.0,
        programs: Programs | None = None,
    ) -> None:
        self._programs = programs if programs is not None else find()
        self._configuration = configuration
        self._start_timeout = start_timeout
        self._password = secrets.token_hex(8)
        (self._port,) = free_ports(1)
        self._directory: Path | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._databases = Databases(self.url)

    @property
    def url(self) -> str:
        """The url of the database `postgres`, as its superuser."""
        return f"postgresql://{_USER}:{self._password}@{HOST}:{self._port}/postgres"

    @property
    def running(self) -> bool:
        """Whether the server's process is there."""
        return self._server is not None and self._server.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the server, for signals; raises LedgerUnavailable when stopped."""
        if self._server is None or not self.running:
            raise LedgerUnavailable("the private PostgreSQL is not running: call start() first")
        return self._server.pid

    def start(self) -> None:
        """Start the server and wait until it takes connections; does nothing when it runs.

        Raises LedgerUnavailable, with the end of the server's log, when it does not in time.
        """
        if self.running:
            return
        self.kill()
        fresh = self._directory is None
        atexit.register(self._at_exit, os.getpid())
        try:
            home = self._home()
            if fresh:
                self._make_data(home)
            self._server = self._spawn(home)
            self._guard = _watch(self._server.pid, home)
            self._await_readiness()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server and remove what it kept."""
        self.kill()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
            self._databases = Databases(self.url)
        atexit.unregister(self._at_exit)

    def kill(self) -> None:
        """Crash the server: every session is cut off at once, and the data stay for a start."""
        self._end(signal.SIGQUIT)

    def restart(self) -> None:
        """Shut the server down in order, if it runs, and start it: same data, same port."""
        self._end(signal.SIGINT)
        self.start()

    def new_database(self, template: str = "") -> str:
        """The url of a database nobody used before; a copy of the one at `template`, if given."""
        return self._databases.create(template)

    def discard_database(self, url: str) -> None:
        """Give back what `new_database` gave, even while it is in use."""
        self._databases.drop(url)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _home(self) -> Path:
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="resonate-postgres-"))
            if (account := _account()) is not None:
                os.chown(self._directory, account.pw_uid, account.pw_gid)
        return self._directory

    def _make_data(self, home: Path) -> None:
        secret = home / "password"
        secret.write_text(self._password, encoding="ascii")
        done = subprocess.run(
            [
                self._programs.initdb,
                *("--pgdata", home / "data", "--username", _USER, "--pwfile", secret),
                *("--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"),
            ],
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_INITDB_TIMEOUT,
            check=False,
            **_identity(),
        )
        if done.returncode != 0:
            (home / "out").write_bytes(done.stdout)
            raise LedgerUnavailable(self._complaint("could not be set up by initdb"))
        secret.unlink()
        with (home / "data" / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(
                _CONFIGURATION.format(host=HOST, port=self._port, configuration=self._configuration)
            )

    def _spawn(self, home: Path) -> subprocess.Popen[bytes]:
        with (home / "out").open("ab") as out:
            return subprocess.Popen(
                [self._programs.server, "-D", home / "data"],
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                process_group=0,
                **_identity(),
            )

    def _end(self, number: signal.Signals) -> None:
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.kill()
            guard.wait()
            if guard.stdin is not None:
                guard.stdin.close()
        server, self._server = self._server, None
        if server is None:
            return
        server.send_signal(number)
        try:
            server.wait(_GRACE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()

    def _await_readiness(self) -> None:
        deadline = time.monotonic() + self._start_timeout
        while not self._ready():
            if not self.running:
                raise LedgerUnavailable(self._complaint("ended before it took connections"))
            if time.monotonic() > deadline:
                what = f"took no connection within {self._start_timeout:g} s"
                raise LedgerUnavailable(self._complaint(what))
            time.sleep(_POLL)

    def _ready(self) -> bool:
        """Whether the server's own status file names this process and says `ready`."""
        with contextlib.suppress(OSError):
            status = (self._home() / "data" / "postmaster.pid").read_text(encoding="utf-8").split()
            return status[:1] == [str(self.pid)] and status[-1] == "ready"
        return False

    def _complaint(self, what: str) -> str:
        log = self._home() / "out"
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        return (
            f"the private PostgreSQL (port {self._port}) {what}; set {TEST_LEDGER} to use another "
            "server. Its last words:\n" + "\n".join(text.splitlines()[-20:])
        )

    def _at_exit(self, owner: int) -> None:
        # A forked child inherits the registration, not the server.
        if os.getpid() == owner:
            self.stop()


def _watch(pid: int, home: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "guard", str(pid), str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _identity() -> dict[str, Any]:
    """Whom to run the programs as."""
    account = _account()
    if account is None:
        return {}
    groups: Sequence[int] = ()
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}


def _account() -> pwd.struct_passwd | None:
    """The unprivileged account that stands in for root; None for anybody else."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _release(place: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", place.parent.name))
