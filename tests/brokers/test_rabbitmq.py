"""RabbitMQ's own: restarts, refusals, alarms, and several urls."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import kombu
import pytest

from resonate_amqp.brokers.rabbitmq import RabbitBroker
from resonate_amqp.dev.broker import PrivateBroker
from resonate_amqp.ports import Blocked, ConsumerLost, Disconnected, Opened, Unconfirmed
from resonate_amqp.wire.properties import Properties
from resonate_amqp.wire.topology import Queue, reply_queue, target_queue
from tests.brokers.party import Party

pytestmark = pytest.mark.rabbitmq

WORK = Queue("work", arguments=(("x-queue-type", "classic"),))
QUORUM = target_queue("poll://any@billing", "quorum")
REPLIES = reply_queue("billing", "p1", "e1")


@pytest.fixture
def closing() -> Iterator[list[Party]]:
    parties: list[Party] = []
    yield parties
    for party in list(parties):
        party.close()


def joined(url: str, parties: list[Party]) -> Party:
    return Party(RabbitBroker(url, heartbeat_s=5), parties)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateBroker]:
    """A node that may be broken, and works again after every test."""
    with PrivateBroker(tmp_path_factory.mktemp("node")) as started:
        yield started


@pytest.mark.processes
@pytest.mark.parametrize("end", ["crash", "shutdown"])
def test_after_a_restart_of_the_broker_all_is_reported_lost_and_a_new_epoch_begins(
    node: PrivateBroker, closing: list[Party], end: str
) -> None:
    party = joined(node.new_vhost(), closing)
    party.await_event(Opened)
    # A quorum queue that was made seconds before a crash never finds its leader again (3.10).
    queue = WORK if end == "crash" else QUORUM
    party.consume(queue)
    party.consume(REPLIES, auto_ack=True)
    party.publish(queue.name, b"1")
    [stale] = party.deliveries(queue.name, 1)
    if end == "crash":
        # A confirm says that the message is on disk, not yet the definition of its queue.
        node.control("eval", "mnesia:sync_log().")
        node.kill()
        party.broker.publish(queue.name, b"2", persistent=True, token=77)
        party.until(lambda: 77 in party.unconfirmed())
    else:
        node.restart()
    party.until(lambda: len(party.all(ConsumerLost)) == 2)
    assert {lost.queue for lost in party.all(ConsumerLost)} == {queue.name, REPLIES.name}
    gone = party.await_event(Disconnected)
    assert gone.reason
    assert not gone.refused
    if end == "crash":
        party.until(lambda: not party.broker.connected())
        party.broker.publish(queue.name, b"3", token=78)
        party.until(lambda: 78 in party.unconfirmed())
        node.start()
    party.until(lambda: bool(party.all(Opened)[1:]), within_s=20)
    assert party.all(Opened)[-1].epoch > 1
    party.forget()
    party.consume(queue)
    party.broker.ack([stale])
    [again] = party.deliveries(queue.name, 1)
    assert (again.body, again.redelivered) == (b"1", True)
    party.publish(queue.name, b"4")
    assert party.bodies(queue.name, 2) == [b"1", b"4"]
    assert party.all(ConsumerLost) == []


@pytest.mark.processes
def test_a_broker_out_of_memory_blocks_us_and_says_so(
    node: PrivateBroker, closing: list[Party]
) -> None:
    url = node.new_vhost()
    party = joined(url, closing)
    party.await_event(Opened)
    party.consume(WORK)
    party.publish("work", b"before")
    [held] = party.deliveries("work", 1)
    node.control("set_vm_memory_high_watermark", "0")
    try:
        party.broker.publish("work", b"during", token=5)
        assert party.await_event(Blocked) == Blocked(True)
        assert not party.broker.connected()
        assert 5 not in party.confirmed()
        party.broker.ack([held])
        party.consume(REPLIES, auto_ack=True)
    finally:
        node.control("set_vm_memory_high_watermark", "0.4")
    assert party.await_event(Blocked, 2) == Blocked(False)
    assert party.broker.connected()
    party.until(lambda: 5 in party.confirmed())
    assert party.bodies("work", 2) == [b"before", b"during"]
    assert party.all(Disconnected) == []


def test_a_wrong_password_is_a_refusal_with_a_reason(vhost_url: str, closing: list[Party]) -> None:
    party = joined(vhost_url.replace("guest:guest@", "guest:wrong@"), closing)
    refused = party.await_event(Disconnected)
    assert refused.refused
    assert "user, password" in refused.reason
    assert "wrong" not in refused.reason
    assert not party.broker.connected()


def test_an_unknown_virtual_host_is_a_refusal_with_its_name(
    vhost_url: str, closing: list[Party]
) -> None:
    party = joined(vhost_url + "-unknown", closing)
    refused = party.await_event(Disconnected)
    assert refused.refused
    assert urlsplit(vhost_url).path[1:] + "-unknown" in refused.reason


@pytest.mark.parametrize("wrong", ["password", "vhost", "nothing"])
def test_closing_is_possible_at_any_moment_of_connecting(
    vhost_url: str, closing: list[Party], wrong: str
) -> None:
    urls = {
        "password": vhost_url.replace("guest:guest@", "guest:wrong@"),
        "vhost": vhost_url + "-unknown",
        "nothing": vhost_url,
    }
    for moment in range(12):
        broker = RabbitBroker(urls[wrong])
        for _ in range(moment):
            broker.poll(2)
        broker.close()
        assert not broker.connected()


def dead_url() -> str:
    """A url behind which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"amqp://guest:guest@127.0.0.1:{port}/"


def test_an_unreachable_port_is_no_refusal_and_is_tried_again(closing: list[Party]) -> None:
    party = joined(dead_url(), closing)
    failed = party.await_event(Disconnected, 4)
    assert not failed.refused
    assert "refused" in failed.reason.lower()


def test_a_host_that_does_not_exist_is_no_refusal(closing: list[Party]) -> None:
    failed = joined("amqp://no-such-host.invalid/", closing).await_event(Disconnected)
    assert not failed.refused
    assert failed.reason


def test_a_port_that_speaks_something_else_is_no_refusal(closing: list[Party]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)

        def answered() -> bool:
            with contextlib.suppress(BlockingIOError):
                connection, _address = server.accept()
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.close()
            return bool(party.all(Disconnected))

        party = joined(f"amqp://127.0.0.1:{server.getsockname()[1]}/", closing)
        party.until(answered)
        assert not party.all(Disconnected)[0].refused


def test_the_next_url_is_tried_when_one_is_dead(vhost_url: str, closing: list[Party]) -> None:
    party = joined(f"{dead_url()};{vhost_url}", closing)
    party.await_event(Opened)
    assert not any(event.refused for event in party.all(Disconnected))
    party.consume(WORK)
    party.publish("work", b"1")
    assert party.bodies("work", 1) == [b"1"]


def test_a_refusal_by_one_of_several_urls_is_not_the_end(
    vhost_url: str, closing: list[Party]
) -> None:
    """Only when every url was refused it is certain that waiting does not help."""
    wrong = vhost_url.replace("guest:guest@", "guest:wrong@")
    party = joined(f"{wrong};{vhost_url}", closing)
    party.await_event(Opened)
    assert not any(event.refused for event in party.all(Disconnected))


def test_a_refusal_by_every_url_is_one(vhost_url: str, closing: list[Party]) -> None:
    wrong = vhost_url.replace("guest:guest@", "guest:wrong@")
    party = joined(f"{wrong};{vhost_url}-unknown", closing)
    party.until(lambda: any(event.refused for event in party.all(Disconnected)))


def test_a_replaced_publishing_channel_is_no_new_connection(
    vhost_url: str, closing: list[Party]
) -> None:
    party = joined(vhost_url, closing)
    party.await_event(Opened)
    party.broker.publish("00", b"", exchange="missing")
    party.await_event(Unconfirmed)
    party.until(party.broker.connected)
    party.barrier()
    assert party.all(Opened) == [Opened(1)]
    assert party.all(Disconnected) == []


@pytest.mark.processes
def test_the_broker_lists_our_connections_by_name(
    node: PrivateBroker, closing: list[Party]
) -> None:
    party = Party(RabbitBroker(node.url, name="resonate_amqp billing p1"), closing)
    party.await_event(Opened)
    names = node.control("list_connections", "client_properties")
    assert "resonate_amqp billing p1 consume" in names
    assert "resonate_amqp billing p1 publish" in names


def test_a_header_that_is_no_whole_number_arrives_as_it_was(
    vhost_url: str, closing: list[Party]
) -> None:
    """A time limit of a Celery task may be; pika itself can neither write nor read such a one."""
    party = joined(vhost_url, closing)
    party.await_event(Opened)
    party.declare(WORK)
    headers = {"timelimit": [1.5, None], "deep": {"er": -0.25}, "name": "café"}
    properties = Properties(priority=2, expiration=60_000, headers=headers)
    party.broker.publish("work", b"1", token=7, reply_to="back", properties=properties)
    party.until(lambda: party.confirmed() == {7})
    with kombu.Connection(vhost_url) as connection:
        found = kombu.Queue("work", no_declare=True)(connection.default_channel).get()
        assert found is not None
        assert found.headers == headers
        kept = {name: found.properties[name] for name in ("priority", "reply_to", "expiration")}
        assert kept == {"priority": 2, "reply_to": "back", "expiration": "60000"}
