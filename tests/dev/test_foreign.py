"""A broker that somebody else runs: what is made there is removed again, and nothing else."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pika
import pytest

from resonate_amqp.dev.broker import PrivateBroker
from resonate_amqp.dev.foreign import ForeignBroker
from resonate_amqp.errors import BrokerError


@pytest.fixture(scope="module")
def somebody() -> Iterator[tuple[PrivateBroker, str]]:
    """A node with the management plugin, and where that listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port}"
    with PrivateBroker(plugins=["rabbitmq_management"], configuration=configuration) as node:
        yield node, f"http://127.0.0.1:{port}"


@pytest.mark.rabbitmq
@pytest.mark.processes
def test_its_virtual_hosts_work_and_go_again(somebody: tuple[PrivateBroker, str]) -> None:
    node, management = somebody
    before = set(node.control("list_vhosts").split())
    foreign = ForeignBroker(node.url, management)
    assert foreign.url == node.url
    first, second = foreign.new_vhost(), foreign.new_vhost()
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(first))) as connection:
        connection.channel().queue_declare("letters", durable=True)
    foreign.discard_vhost(first)
    foreign.discard_vhost(node.url)
    made = set(node.control("list_vhosts").split()) - before
    assert made == {second.rpartition("/")[2]}
    foreign.stop()
    assert set(node.control("list_vhosts").split()) == before


@pytest.mark.rabbitmq
@pytest.mark.processes
def test_a_refusal_names_the_user(somebody: tuple[PrivateBroker, str]) -> None:
    node, management = somebody
    foreign = ForeignBroker(node.url.replace("guest:guest", "guest:wrong"), management)
    with pytest.raises(BrokerError, match=r"refused PUT vhosts/.*401.*'guest'"):
        foreign.new_vhost()


def test_a_broker_without_management_is_an_error_that_says_so() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        foreign = ForeignBroker("amqp://127.0.0.1:5672", f"http://127.0.0.1:{port}")
        with pytest.raises(BrokerError, match="enable the plugin rabbitmq_management"):
            foreign.new_vhost()
    foreign.stop()
