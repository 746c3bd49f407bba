"""Brokers: whether a shop and its Resonate are on one RabbitMQ and one virtual host.

A message that waits is sent again by the ledger's broker. A consumer of another broker never sees
it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary, WeakSet

from resonate_amqp.brokers.rabbitmq.cluster import cluster_name, name_in
from resonate_amqp.brokers.rabbitmq.urls import shown, vhost_of
from resonate_amqp.errors import BrokerError, UsageError
from resonate_amqp.resonate import Resonate
from resonate_amqp.resonate.kombu_urls import SCHEMES, bracketed, urls_of

log = logging.getLogger(__name__)

HERE = "localhost"
_LOOPBACK = ("", HERE, "127.0.0.1", "::1")

Node = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a connection leads: the nodes it may use, and the name of their cluster.

    `cluster` may connect, and raises BrokerError when nothing answers.
    """

    shown: str
    vhosts: frozenset[str]
    nodes: frozenset[Node]
    cluster: Callable[[], str]


def place_of_url(urls: str) -> Place:
    """Where one url leads, or several joined by `;`."""
    given = [url for part in urls.split(";") if (url := part.strip())]
    return _place(given, lambda: cluster_name(urls))


def place_of_connection(connection: Any) -> Place:
    """Where a Kombu connection leads, which need not be open.

    Raises UsageError for one that leads to no RabbitMQ.
    """
    urls = urls_of(connection)
    if urlsplit(urls[0]).scheme not in SCHEMES:
        raise UsageError(f"{connection.as_uri()} is no RabbitMQ")
    return _place(urls, lambda: _cluster_of(connection))


def place_of_channel(channel: Any) -> Place | None:
    """Where an open channel leads; None for one that is not py-amqp's."""
    connection: Any = getattr(channel, "connection", None)
    properties = getattr(connection, "server_properties", None)
    if not isinstance(properties, dict):
        return None
    scheme = "amqps" if connection.ssl else "amqp"
    url = bracketed(f"{scheme}://{connection.host}/")
    vhost = connection.virtual_host or "/"
    return Place(
        f"{url}{vhost}",
        frozenset({vhost}),
        frozenset({_node(url)}),
        lambda: name_in(properties),
    )


def check_same_broker(theirs: Place, ours: str, remedy: str) -> None:
    """Raise UsageError when a shop's messages are not where the url of its Resonate leads.

    Two virtual hosts are two brokers. Nodes are compared by name. Those that differ, as behind a
    load balancer, are asked for the name of their cluster; where one tells none, a warning is
    logged.
    """
    our = place_of_url(ours)
    if not theirs.vhosts & our.vhosts:
        raise UsageError(_two(theirs, our, "another virtual host", remedy))
    if theirs.nodes & our.nodes:
        return
    try:
        their_name, our_name = theirs.cluster(), our.cluster()
    except BrokerError as error:
        log.warning(
            "%s and %s may be two brokers, which could not be seen: %s",
            *(theirs.shown, our.shown, error),
        )
        return
    if not (their_name and our_name):
        log.warning(
            "%s and %s may be two brokers: one of them does not tell its cluster's name",
            theirs.shown,
            our.shown,
        )
    elif their_name != our_name:
        why = f"cluster {our_name!r} and not {their_name!r}"
        raise UsageError(_two(theirs, our, why, remedy))


_checked: WeakKeyDictionary[Any, WeakSet[Resonate]] = WeakKeyDictionary()


def check_channel(channel: Any, resonate: Resonate, remedy: str) -> None:
    """As `check_same_broker` for the channel a message came by; once per connection.

    Channels that are not py-amqp's are let through, as is an embedded Resonate.
    """
    connection = getattr(channel, "connection", None)
    if connection is None or resonate._system is not None or resonate.embedded:
        return
    place = place_of_channel(channel)
    if place is None or resonate in _checked.get(connection, ()):
        return
    check_same_broker(place, resonate.broker_url(), remedy)
    _checked.setdefault(connection, WeakSet()).add(resonate)


def _two(theirs: Place, ours: Place, why: str, remedy: str) -> str:
    return (
        f"its messages are on the broker {theirs.shown}, and its Resonate is on {ours.shown} "
        f"({why}): what waits would be sent again there, and never come back. {remedy}"
    )


def _place(urls: list[str], cluster: Callable[[], str]) -> Place:
    seen = ";".join(shown(url).partition("?")[0] for url in urls)
    vhosts = frozenset(vhost_of(url) for url in urls)
    return Place(seen, vhosts, frozenset(map(_node, urls)), cluster)


def _node(url: str) -> Node:
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
    return HERE if host in _LOOPBACK else host, port


def _cluster_of(connection: Any) -> str:
    """The cluster's name, by a connection of its own that goes through all urls once."""
    with connection.clone() as opened:
        try:
            opened.ensure_connection(max_retries=max(1, len(opened.alt)), interval_start=0)
        except Exception as error:  # each transport has errors of its own
            raise BrokerError(f"{connection.as_uri()} does not answer: {error}") from error
        return name_in(opened.connection.server_properties)
