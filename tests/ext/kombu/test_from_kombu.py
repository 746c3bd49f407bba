"""`Resonate.from_kombu`: the broker of a Kombu connection, with its TLS; and who imports whom."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from typing import Any

import pytest
from kombu import Connection

from resonate_amqp import Resonate
from resonate_amqp.brokers.rabbitmq.urls import parameters
from resonate_amqp.errors import UsageError
from resonate_amqp.resonate.kombu_urls import url_of

CA = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"


def read(connection: Connection) -> list[Any]:
    """The parameters of pika that the connection's urls stand for."""
    return parameters(url_of(connection), heartbeat_s=15, name="test")


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("amqp://shop:p%40ss@broker:5673/north", ("broker", 5673, "north", "shop", "p@ss")),
        ("pyamqp://broker//", ("broker", 5672, "/", "guest", "guest")),
        ("amqp://broker", ("broker", 5672, "/", "guest", "guest")),
        ("amqp://broker/a%2Fb", ("broker", 5672, "a/b", "guest", "guest")),
        ("amqp://shop:p%40ss@[::1]:5673/north", ("::1", 5673, "north", "shop", "p@ss")),
        ("amqp://[fe80::1]//", ("fe80::1", 5672, "/", "guest", "guest")),
    ],
)
def test_a_connection_is_taken_over_with_its_user_and_virtual_host(url: str, wanted: Any) -> None:
    (found,) = read(Connection(url))
    credentials = found.credentials
    told = (found.host, found.port, found.virtual_host, credentials.username, credentials.password)
    assert told == wanted
    assert found.ssl_options is None


def test_alternates_and_settings_come_along() -> None:
    connection = Connection("amqp://a:1@one/v;amqp://a:1@two/v")
    assert [each.host for each in read(connection)] == ["one", "two"]
    resonate = Resonate.from_kombu(connection, group="shop", park_after=5)
    assert (resonate.settings.group, resonate.settings.park_after) == ("shop", 5)
    assert resonate.settings.url == "amqp://a:1@one:5672/v;amqp://a:1@two:5672/v"


def test_tls_is_taken_over_and_the_name_of_the_broker_is_checked() -> None:
    secured = {"ca_certs": CA, "cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}
    (found,) = read(Connection("amqp://broker//", ssl=secured))
    assert found.port == 5671
    assert found.ssl_options.server_hostname == "broker"
    assert found.ssl_options.context.check_hostname
    assert found.ssl_options.context.verify_mode is ssl.CERT_REQUIRED
    (found,) = read(Connection("amqp://broker:5699//", ssl=True))
    assert (found.port, found.ssl_options.context.check_hostname) == (5699, True)


def test_socket_options_that_both_know_come_along() -> None:
    settings = {socket.TCP_KEEPIDLE: 7, socket.TCP_NODELAY: 1}
    (found,) = read(Connection("amqp://", transport_options={"socket_settings": settings}))
    assert found.tcp_options == {"TCP_KEEPIDLE": 7}


@pytest.mark.parametrize(
    ("connection", "named"),
    [
        (Connection("memory://"), "a connection over memory:// leads to no RabbitMQ"),
        (Connection("amqp://", ssl={"cert_reqs": ssl.CERT_NONE}), "cannot be taken over"),
        (Connection("amqp://", login_method="EXTERNAL"), "login method 'EXTERNAL'"),
    ],
)
def test_what_cannot_be_taken_over_is_refused_by_name(connection: Connection, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        Resonate.from_kombu(connection)


@pytest.mark.parametrize(
    ("module", "absent"),
    [("resonate_amqp", ("celery", "kombu")), ("resonate_amqp.ext.kombu", ("celery",))],
)
def test_what_is_not_used_is_not_imported(module: str, absent: tuple[str, ...]) -> None:
    """So that nobody who lacks Celery misses it."""
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({absent!r})); import {module}; "
        "from resonate_amqp import Resonate; Resonate.from_kombu"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
