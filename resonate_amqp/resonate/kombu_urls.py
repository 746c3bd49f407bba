"""Kombu urls: where a Kombu connection leads, as this package connects to it.

A connection is taken as it comes, so that Kombu need not be installed.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from resonate_amqp.errors import UsageError

SCHEMES = ("amqp", "amqps", "pyamqp", "librabbitmq")
"""The transports of Kombu that lead to RabbitMQ."""

_TLS = ("ca_certs", "certfile", "keyfile", "server_hostname", "ciphers")
_SOCKET = ("TCP_USER_TIMEOUT", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")


def url_of(connection: Any) -> str:
    """The broker urls of a Kombu connection, joined by `;`, with what pika needs for TLS.

    Raises UsageError for a connection that leads to no RabbitMQ, or that logs in or is secured in
    a way that cannot be taken over.
    """
    if (method := getattr(connection, "login_method", None)) not in (None, "PLAIN", "AMQPLAIN"):
        raise UsageError(f"login method {method!r} cannot be taken over; give Resonate a url=")
    tcp = _tcp_options(getattr(connection, "transport_options", None) or {})
    found = [_one(url, connection.ssl, tcp) for url in urls_of(connection)]
    return ";".join(dict.fromkeys(found))


def urls_of(connection: Any) -> list[str]:
    """The urls of a Kombu connection as they are, with passwords; the first is the one in use."""
    first = bracketed(connection.as_uri(include_password=True))
    urls = [first]
    for other in getattr(connection, "alt", None) or []:
        parts = urlsplit(first)
        beside = parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{other}")
        urls.append(other if "://" in other else urlunsplit(beside))
    return urls


def bracketed(url: str) -> str:
    """The url with an IPv6 address in brackets, as a url has it and Kombu does not."""
    parts = urlsplit(url)
    login, at, place = parts.netloc.rpartition("@")
    host, _, port = unquote(place).rpartition(":")
    if ":" not in host or host.startswith("["):
        return url
    return urlunsplit(parts._replace(netloc=f"{login}{at}[{host}]:{port}"))


def _one(url: str, secured: Any, tcp: Mapping[str, int]) -> str:
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise UsageError(
            f"a connection over {parts.scheme}:// leads to no RabbitMQ; give Resonate the url= of "
            "one"
        )
    secure = bool(secured) or parts.scheme == "amqps"
    options = {"tcp_options": tcp} if tcp else {}
    if isinstance(secured, Mapping) and secured:
        options["ssl_options"] = _tls_options(secured, parts.hostname or "localhost")
    port = "" if parts.port else ":5671" if secure else ":5672"
    vhost = quote(unquote(parts.path[1:]) or "/", safe="")
    query = "&".join(f"{name}={quote(repr(value), safe='')}" for name, value in options.items())
    return urlunsplit(("amqps" if secure else "amqp", parts.netloc + port, vhost, query, ""))


def _tls_options(given: Mapping[str, Any], host: str) -> dict[str, Any]:
    """What pika makes a context of; the name in the broker's certificate is always checked."""
    odd = [name for name in given if name not in (*_TLS, "cert_reqs")]
    if odd or given.get("cert_reqs", ssl.CERT_REQUIRED) != ssl.CERT_REQUIRED:
        raise UsageError(
            f"the connection's ssl={dict(given)!r} cannot be taken over: {', '.join(_TLS)} and "
            "cert_reqs=CERT_REQUIRED can; give Resonate a url= with ssl_options"
        )
    options = {name: given[name] for name in _TLS if given.get(name) is not None}
    options.setdefault("server_hostname", host)
    options.setdefault("ca_certs", ssl.get_default_verify_paths().cafile)
    return options


def _tcp_options(transport_options: Mapping[str, Any]) -> dict[str, int]:
    """The socket options of py-amqp that pika knows too, by their names."""
    given = transport_options.get("socket_settings") or {}
    named = {name: getattr(socket, name, None) for name in _SOCKET}
    return {name: given[number] for name, number in named.items() if number in given}
