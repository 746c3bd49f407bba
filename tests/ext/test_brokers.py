"""Whether a shop's connection and its Resonate are on one broker: what is refused, and what not."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

import pytest
from kombu import Connection

from resonate_amqp import Resonate, UsageError
from resonate_amqp.brokers.rabbitmq.cluster import cluster_name
from resonate_amqp.dev.broker import PrivateBroker
from resonate_amqp.dev.choose import ChosenBroker
from resonate_amqp.errors import BrokerError
from resonate_amqp.ext.brokers import (
    check_channel,
    check_same_broker,
    place_of_connection,
    place_of_url,
)
from tests.ledgers.proxy import Proxy

SHUT = "amqp://127.0.0.1:1"


def check(theirs: str, ours: str) -> None:
    check_same_broker(place_of_connection(Connection(theirs)), ours, "Use one.")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("amqp://a.invalid//", "amqp://a.invalid"),
        ("amqp://a.invalid", "amqp://a.invalid/%2F"),
        ("amqp://a.invalid//", "amqp://a.invalid//"),
        ("amqp://a.invalid:5672/shop", "pyamqp://A.invalid/shop"),
        ("amqp://me:one@a.invalid/shop", "amqp://you:two@a.invalid/shop?heartbeat=3"),
        ("amqps://a.invalid/shop", "amqps://a.invalid:5671/shop"),
        ("amqp://localhost/shop", "amqp://127.0.0.1/shop"),
        ("amqp://127.0.0.1/shop", "amqp://[::1]/shop"),
        ("amqp://[fe80::1]:5673/shop", "amqp://[fe80::1]:5673/shop"),
        ("amqp://", "amqp://localhost"),
        ("amqp://a.invalid/shop;amqp://b.invalid/shop", "amqp://b.invalid/shop"),
        ("amqp://a.invalid/shop", "amqp://c.invalid/shop; amqp://a.invalid/shop"),
        ("amqp://me:one@a.invalid/shop;b.invalid", "amqp://b.invalid/shop"),
    ],
)
def test_one_broker_written_in_two_ways_is_one(
    theirs: str, ours: str, caplog: pytest.LogCaptureFixture
) -> None:
    check(theirs, ours)
    assert not [one for one in caplog.messages if "brokers" in one]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("amqp://me:secret@a.invalid/shop", "amqp://me:secret@a.invalid/other"),
        ("amqp://me:secret@a.invalid//", "amqp://me:secret@b.invalid/shop"),
        ("amqp://me:secret@a.invalid//shop", "amqp://me:secret@a.invalid/shop"),
    ],
)
def test_two_virtual_hosts_are_refused_and_both_are_named_without_passwords(
    theirs: str, ours: str
) -> None:
    with pytest.raises(UsageError, match=r"another virtual host.* Use one\.") as refused:
        check(theirs, ours)
    for url in (theirs, ours):
        parts = urlsplit(url)
        assert f"me:***@{parts.hostname}" in str(refused.value)
        assert parts.path in str(refused.value)
    assert "secret" not in str(refused.value)


def test_another_transport_is_refused() -> None:
    with pytest.raises(UsageError, match=r"redis://:\*\*@cache\.invalid:6379/0 is no RabbitMQ"):
        check("redis://:secret@cache.invalid:6379/0", "amqp://a.invalid")


@pytest.mark.parametrize("ours", ["amqp://127.0.0.1:2", "amqp://127.0.0.1:2;amqp://127.0.0.1:3"])
def test_nodes_that_do_not_answer_are_warned_about(
    ours: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "resonate_amqp"):
        check(SHUT, ours)
    (said,) = [one for one in caplog.messages if "may be two brokers" in one]
    assert "127.0.0.1:1" in said
    assert "127.0.0.1:2" in said


def test_a_broker_that_does_not_answer_is_named_with_the_reason() -> None:
    with pytest.raises(BrokerError, match=r"me:\*\*\*@127\.0\.0\.1:1/ does not answer"):
        cluster_name("amqp://me:secret@127.0.0.1:1/")


def test_other_transports_of_kombu_and_an_embedded_resonate_are_let_through() -> None:
    with Connection("memory://") as connection:
        check_channel(connection.channel(), Resonate("amqp://a.invalid"), "Use one.")
        check_channel(connection.channel(), Resonate(), "Use one.")
    check_channel(None, Resonate("amqp://a.invalid"), "Use one.")


@pytest.mark.rabbitmq
class TestRealBrokers:
    def test_two_brokers_with_a_virtual_host_of_one_name_are_refused(
        self, broker: ChosenBroker, other: PrivateBroker
    ) -> None:
        for theirs, ours in ((broker.url, other.url), (other.url, broker.url)):
            with pytest.raises(UsageError, match=r"cluster .* and not ") as refused:
                check(theirs, ours)
            assert "other@example" in str(refused.value)
            assert str(urlsplit(other.url).port) in str(refused.value)

    def test_two_names_of_one_broker_are_one(
        self, other: PrivateBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        behind = Proxy(other.url)
        balanced = other.url.replace(str(urlsplit(other.url).port), str(urlsplit(behind.url).port))
        assert balanced != other.url
        check(other.url, balanced)
        check(f"{SHUT};{balanced}", f"amqp://127.0.0.1:2;{other.url}")
        behind.cut()
        assert not [one for one in caplog.messages if "may be two" in one]

    def test_a_message_s_channel_is_compared_once_per_connection(
        self, vhost_url: str, broker: ChosenBroker, other: PrivateBroker
    ) -> None:
        same, elsewhere = Resonate(vhost_url), Resonate(other.url)
        with Connection(vhost_url) as connection:
            channel: Any = connection.channel()
            check_channel(channel, same, "Use one.")
            check_channel(channel, same, "Use one.")
            for _ in range(2):
                with pytest.raises(UsageError, match="another virtual host"):
                    check_channel(channel, elsewhere, "Use one.")
        with Connection(broker.url) as connection, pytest.raises(UsageError, match="cluster"):
            check_channel(connection.channel(), elsewhere, "Use one.")

    def test_a_url_tells_its_cluster(self, other: PrivateBroker) -> None:
        assert cluster_name(f"{SHUT};{other.url}") == "other@example"
        assert place_of_url(other.url).cluster() == "other@example"
