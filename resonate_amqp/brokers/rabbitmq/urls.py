"""Broker urls: several joined by `;`, and what of them may be shown."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

import pika
from pika.exceptions import AMQPError

from resonate_amqp.errors import UsageError

_PASSWORD = re.compile(r"(?<=://)([^:/@;]*):[^/;?]*@")


def parameters(urls: str, *, heartbeat_s: int, name: str) -> list[pika.connection.Parameters]:
    """Connection parameters of every url; `name` is shown in the broker's list of connections.

    Raises UsageError for a url that is not amqp:// or amqps://.
    """
    found = []
    for url in filter(None, (part.strip() for part in urls.split(";"))):
        scheme = urlsplit(url).scheme
        if scheme not in ("amqp", "amqps", "pyamqp"):
            raise UsageError(f"broker url {shown(url)!r} must start with amqp:// or amqps://")
        url = url.removeprefix("py")
        try:
            made = pika.URLParameters(url)
            # Kombu's way to write the default one, amqp://HOST//, is an empty name to pika.
            made.virtual_host = vhost_of(url)
        except (ValueError, TypeError, AMQPError) as error:
            raise UsageError(f"broker url {shown(url)!r} cannot be read: {error}") from error
        made.heartbeat = heartbeat_s
        made.client_properties = {"connection_name": name}
        made.socket_timeout = 5
        made.stack_timeout = 10
        found.append(made)
    if not found:
        raise UsageError("no broker url; write amqp://USER:PASSWORD@HOST/VHOST")
    return found


def shown(urls: str) -> str:
    """The urls without their passwords."""
    return _PASSWORD.sub(r"\1:***@", urls)


def vhost_of(url: str) -> str:
    """The virtual host a url names; `/` when it names none."""
    path = urlsplit(url).path
    return unquote(path[1:]) if len(path) > 1 else "/"
