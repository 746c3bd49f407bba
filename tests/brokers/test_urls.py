"""Broker urls: what pika is told, and what a log may show."""

from __future__ import annotations

import gc
import ssl

import pytest

from resonate_amqp.brokers.rabbitmq import RabbitBroker
from resonate_amqp.brokers.rabbitmq.urls import parameters, shown, vhost_of
from resonate_amqp.errors import UsageError


def test_an_amqp_url_names_host_port_vhost_and_user() -> None:
    [made] = parameters("amqp://ann:s%2Fcret@mq.example:5673/shop", heartbeat_s=7, name="me")
    assert (made.host, made.port, made.virtual_host) == ("mq.example", 5673, "shop")
    assert (made.credentials.username, made.credentials.password) == ("ann", "s/cret")
    assert made.heartbeat == 7
    assert made.client_properties == {"connection_name": "me"}
    assert made.ssl_options is None


def test_an_amqps_url_is_tls_with_a_checked_certificate() -> None:
    [made] = parameters("amqps://mq.example/shop", heartbeat_s=15, name="me")
    assert made.port == 5671
    assert made.ssl_options is not None
    assert made.ssl_options.context.verify_mode is ssl.CERT_REQUIRED
    assert made.ssl_options.context.check_hostname


def test_options_of_a_url_reach_the_connection() -> None:
    url = "amqp://mq.example/?connection_attempts=3&blocked_connection_timeout=9"
    [made] = parameters(url, heartbeat_s=15, name="me")
    assert (made.connection_attempts, made.blocked_connection_timeout) == (3, 9)


@pytest.mark.parametrize(
    ("url", "vhost"),
    [
        ("amqp://mq.example", "/"),
        ("amqp://mq.example/", "/"),
        ("amqp://mq.example/%2f", "/"),
        ("amqp://mq.example//", "/"),
        ("amqp://mq.example/a%2Fb", "a/b"),
        ("amqp://mq.example/shop", "shop"),
    ],
)
def test_a_url_without_a_vhost_means_the_default_one(url: str, vhost: str) -> None:
    [made] = parameters(url, heartbeat_s=15, name="me")
    assert made.virtual_host == vhost
    assert vhost_of(url) == vhost


def test_several_urls_are_tried_in_their_order() -> None:
    made = parameters("amqp://one/a; amqp://two/b;pyamqp://three/c;", heartbeat_s=15, name="me")
    assert [one.host for one in made] == ["one", "two", "three"]


@pytest.mark.parametrize("url", ["redis://mq/0", "mq.example", "http://mq", "amqp:/mq;redis://x"])
def test_a_url_of_something_else_is_refused_and_named(url: str) -> None:
    with pytest.raises(UsageError, match="must start with amqp:// or amqps://"):
        parameters(url, heartbeat_s=15, name="me")


@pytest.mark.parametrize("url", ["amqp://mq.example:port/", "amqp://mq/?heartbeat=often"])
def test_a_url_that_cannot_be_read_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        parameters(url, heartbeat_s=15, name="me")


@pytest.mark.parametrize("urls", ["", ";", " ; "])
def test_no_url_at_all_is_told_the_form(urls: str) -> None:
    with pytest.raises(UsageError, match=r"amqp://USER:PASSWORD@HOST/VHOST"):
        parameters(urls, heartbeat_s=15, name="me")


@pytest.mark.parametrize(
    ("urls", "clean"),
    [
        ("amqp://ann:secret@mq/shop", "amqp://ann:***@mq/shop"),
        ("amqp://ann:s%40cret@mq;amqps://bob:other@mq2", "amqp://ann:***@mq;amqps://bob:***@mq2"),
        ("amqp://ann:se:cr:et@mq", "amqp://ann:***@mq"),
        ("amqp://ann:sec@ret@mq/shop", "amqp://ann:***@mq/shop"),
        ("amqp://:secret@mq/shop", "amqp://:***@mq/shop"),
        ("amqp://ann@mq/shop", "amqp://ann@mq/shop"),
        ("amqp://mq/shop", "amqp://mq/shop"),
    ],
)
def test_a_password_is_never_shown(urls: str, clean: str) -> None:
    assert shown(urls) == clean


def test_a_refused_url_is_shown_without_its_password() -> None:
    with pytest.raises(UsageError) as refused:
        parameters("redis://ann:secret@mq/0", heartbeat_s=15, name="me")
    assert "secret" not in str(refused.value)
    with pytest.raises(UsageError) as refused:
        parameters("amqp://ann:secret@mq:port/0", heartbeat_s=15, name="me")
    assert "secret" not in str(refused.value)


def test_a_refused_url_leaves_nothing_open() -> None:
    """A warning about an unclosed socket would fail the test."""
    with pytest.raises(UsageError):
        RabbitBroker("redis://mq/0")
    gc.collect()
