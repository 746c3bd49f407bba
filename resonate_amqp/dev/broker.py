"""A RabbitMQ node of one's own: loopback only, in its own directory, gone with its owner.

The node shares nothing with one that the system may run: it has its own port mapper (epmd), its
own cookie, and reads no file under /etc. Node and port mapper form one process group.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from resonate_amqp.dev.binaries import Binaries, find
from resonate_amqp.dev.loopback import HOST, free_ports
from resonate_amqp.dev.vhosts import Vhosts, amqp_url
from resonate_amqp.errors import BrokerError

_POLL = 0.05
_GRACE = 15.0
_CONTROL_TIMEOUT = 60.0

# Ends the group when the owner's end of the pipe closes, however the owner died.
_GUARD = 'cat >/dev/null; kill -9 "-$1" 2>/dev/null; if [ -n "$2" ]; then rm -rf "$2"; fi'


class PrivateBroker:
    """A rabbitmq-server process that belongs to this process.

    Without `directory` the node lives in a temporary directory, which `stop` removes; with one,
    what is durable stays there. `plugins` are enabled from the first start; `configuration` is
    added to rabbitmq.conf. Ports stay the same for the life of the object. `start_timeout` is in
    seconds. Not for use by several threads at once, `new_vhost` and `discard_vhost` apart.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        plugins: Sequence[str] = (),
        configuration: str = "",
        start_timeout: float = 60.0,
        binaries: Binaries | None = None,
    ) -> None:
        self._binaries = binaries if binaries is not None else find()
        self._given = directory
        self._directory = directory
        self._plugins = tuple(plugins)
        self._configuration = configuration
        self._start_timeout = start_timeout
        self._port, self._distribution_port, self._epmd_port = free_ports(3)
        self._vhosts = Vhosts(lambda expression: self.control("eval", expression))
        self._processes: _Processes | None = None

    @property
    def url(self) -> str:
        """The url of the virtual host `/`."""
        return amqp_url(HOST, self._port, "/")

    @property
    def running(self) -> bool:
        """Whether the node's process is there."""
        return self._processes is not None and self._processes.node.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the node, for signals; raises BrokerError when it does not run."""
        if not self.running:
            raise BrokerError("the private rabbitmq-server is not running: call start() first")
        # Written by the node itself: the process that was started may be a shell around it.
        return int((self._home() / "rabbit.pid").read_text(encoding="ascii"))

    def start(self) -> None:
        """Start the node and wait until it answers; does nothing when it runs.

        Raises BrokerError, with the end of the node's log, when it does not answer in time.
        """
        if self.running:
            return
        self.kill()
        home = self._home()
        self._write_files(home)
        environment = self._environment(home)
        self._processes = _spawn(
            self._binaries, environment, home, "" if self._given else str(home)
        )
        atexit.register(self._at_exit, os.getpid())
        try:
            self._await_answer()
        except BaseException:
            self.kill()
            self._forget_temporary()
            raise

    def stop(self) -> None:
        """End the node and everything it started; a temporary directory goes with it.

        In a directory that was given the node shuts down in order, because what it holds stays.
        """
        if self._given is not None and self.running and self._processes is not None:
            node = self._processes.node
            node.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.wait(_GRACE)
        self.kill()
        self._forget_temporary()

    def kill(self) -> None:
        """Crash the node, as `kill -9` does; its directory stays, so that it can start again."""
        processes, self._processes = self._processes, None
        if processes is not None:
            atexit.unregister(self._at_exit)
            processes.kill()

    def restart(self) -> None:
        """Shut the node down in order, if it runs, and start it: same directory, same ports."""
        if self.running and self._processes is not None:
            self._processes.node.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._processes.node.wait(_GRACE)
        self.start()

    def new_vhost(self) -> str:
        """The url of a virtual host that nobody used before."""
        return amqp_url(HOST, self._port, self._vhosts.take())

    def discard_vhost(self, url: str) -> None:
        """Give back what `new_vhost` gave; the node removes it some time later."""
        self._vhosts.discard(unquote(urlsplit(url).path.removeprefix("/")))

    def control(self, *arguments: str) -> str:
        """What `rabbitmqctl` prints; raises BrokerError with its complaint when it fails."""
        return _control(self._binaries, self._environment(self._home()), arguments)

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
            self._directory = Path(tempfile.mkdtemp(prefix="resonate-rabbitmq-"))
        return self._directory.absolute()

    def _forget_temporary(self) -> None:
        if self._given is None and self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
            self._vhosts = Vhosts(lambda expression: self.control("eval", expression))

    def _write_files(self, home: Path) -> None:
        for name in ("mnesia", "log"):
            (home / name).mkdir(parents=True, exist_ok=True)
        cookie = home / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(mode=0o600)
            cookie.write_text(secrets.token_hex(16), encoding="ascii")
            cookie.chmod(0o400)
        (home / "enabled_plugins").write_text(f"[{','.join(self._plugins)}].\n", encoding="ascii")
        (home / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = {HOST}:{self._port}\nlog.console = false\n{self._configuration}\n",
            encoding="utf-8",
        )

    def _environment(self, home: Path) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("RABBITMQ_")
        }
        return inherited | {
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "ERL_CRASH_DUMP": str(home / "erl_crash.dump"),
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": "resonate@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(home / "rabbit.pid"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            # Without a service manager's socket this only makes the start script replace itself
            # by the node, so that a signal to the process reaches the node.
            "RUNNING_UNDER_SYSTEMD": "true",
            "NOTIFY_SOCKET": "",
        }

    def _await_answer(self) -> None:
        deadline = time.monotonic() + self._start_timeout
        while not _speaks_amqp(self._port):
            if not self.running:
                raise BrokerError(self._account("ended before it answered"))
            if time.monotonic() > deadline:
                raise BrokerError(self._account(f"gave no answer in {self._start_timeout:g} s"))
            time.sleep(_POLL)

    def _account(self, what: str) -> str:
        home = self._home()
        logs = [home / "out", home / "log" / "resonate@localhost.log"]
        lines = [line for log in logs for line in _last_lines(log)]
        return (
            f"the private rabbitmq-server in {home} (port {self._port}) {what}; set "
            "RESONATE_AMQP_TEST_URL to use another broker. Its last words:\n" + "\n".join(lines)
        )

    def _at_exit(self, owner: int) -> None:
        # A forked child inherits the registration, not the broker.
        if os.getpid() == owner:
            self.stop()


class _Processes:
    """A running node, its port mapper, and the guard that outlives their owner for a moment."""

    def __init__(
        self,
        epmd: subprocess.Popen[bytes],
        node: subprocess.Popen[bytes],
        guard: subprocess.Popen[bytes],
    ) -> None:
        self.epmd = epmd
        self.node = node
        self.guard = guard

    def kill(self) -> None:
        self.guard.kill()
        self.guard.wait()
        if self.guard.stdin is not None:
            self.guard.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.epmd.pid, signal.SIGKILL)
        self.node.wait()
        self.epmd.wait()


def _spawn(
    binaries: Binaries, environment: dict[str, str], home: Path, removable: str
) -> _Processes:
    with (home / "out").open("ab") as out:
        epmd = subprocess.Popen(
            [binaries.epmd],
            env=environment,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            process_group=0,
        )
        try:
            guard = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "guard", str(epmd.pid), removable],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            node = subprocess.Popen(
                [binaries.server],
                env=environment,
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                process_group=epmd.pid,
            )
        except BaseException:
            epmd.kill()
            raise
    return _Processes(epmd, node, guard)


def _control(binaries: Binaries, environment: dict[str, str], arguments: Sequence[str]) -> str:
    command = f"rabbitmqctl {' '.join(arguments)}"
    try:
        done = subprocess.run(
            [binaries.control, "--quiet", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_CONTROL_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BrokerError(f"`{command}` gave no answer in {_CONTROL_TIMEOUT:g} s") from error
    if done.returncode != 0:
        complaint = (done.stderr or done.stdout).strip()
        raise BrokerError(f"`{command}` failed ({done.returncode}): {complaint}")
    return done.stdout


def _speaks_amqp(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1.0) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        return False


def _last_lines(log: Path, count: int = 20) -> list[str]:
    if not log.exists():
        return []
    return log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
