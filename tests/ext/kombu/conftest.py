"""Fixtures of the Kombu retrofit: a shop in this process, and shops of processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resonate_amqp.dev.binaries import installed
from resonate_amqp.dev.broker import PrivateBroker
from resonate_amqp.dev.loopback import free_ports
from tests.ext.kombu.processes import ShopSystem
from tests.ext.kombu.shop import Shop

ACK_TIMEOUT_S = 3.0
CONFIGURATION = (
    f"[{{rabbit, [{{consumer_timeout, {ACK_TIMEOUT_S * 1000:.0f}}}, "
    "{channel_tick_interval, 500}]}].\n"
)


@pytest.fixture
def shop() -> Iterator[Shop]:
    """An embedded ledger, and a queue over Kombu's memory transport."""
    made = Shop()
    yield made
    made.close()


@pytest.fixture
def processes(vhost_url: str, tmp_path: Path) -> Iterator[ShopSystem]:
    """A shop on the shared broker in which nothing runs yet."""
    made = ShopSystem(vhost_url, tmp_path)
    yield made
    made.kill_all()
    sys.stdout.write(made.logs())


class Node(PrivateBroker):
    """A broker that may be broken, which listens with TLS too if a certificate could be made."""

    def __init__(self, home: Path) -> None:
        self.certificate = home / "certificate.pem"
        (self.tls_port,) = free_ports(1)
        (home / "advanced.config").write_text(CONFIGURATION, encoding="ascii")
        super().__init__(home, configuration=self._listener(home) if self._certify(home) else "")

    def _certify(self, home: Path) -> bool:
        if shutil.which("openssl") is None:
            return False
        name = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
        files = ("-keyout", str(home / "key.pem"), "-out", str(self.certificate))
        command = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *name, *files)
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _listener(self, home: Path) -> str:
        return (
            f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}\n"
            f"ssl_options.certfile = {self.certificate}\n"
            f"ssl_options.cacertfile = {self.certificate}\n"
            f"ssl_options.keyfile = {home / 'key.pem'}"
        )


@pytest.fixture(scope="package")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A broker that may be broken, and that waits no longer than ACK_TIMEOUT_S for an ack."""
    if not installed() and not os.environ.get("CI"):
        pytest.skip("rabbitmq-server is not installed; `make system` installs it")
    with Node(tmp_path_factory.mktemp("node")) as started:
        yield started


@pytest.fixture
def breakable(node: PrivateBroker, tmp_path: Path) -> Iterator[ShopSystem]:
    """A shop on the broker that may be broken."""
    made = ShopSystem(node.new_vhost(), tmp_path)
    yield made
    made.kill_all()
    sys.stdout.write(made.logs())
