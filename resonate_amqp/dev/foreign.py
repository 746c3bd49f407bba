"""A broker that somebody else runs: ours is only what we create on it."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from resonate_amqp.dev.vhosts import new_name
from resonate_amqp.errors import BrokerError

_TIMEOUT = 10.0


class ForeignBroker:
    """The broker behind a url; virtual hosts are made through its management HTTP API.

    The API is looked for on the url's host, at port 15672 (15671 for `amqps`), unless
    `management` says where it is, as in `http://localhost:15672`. The user of the url must be
    allowed to create virtual hosts.
    """

    def __init__(self, url: str, management: str = "") -> None:
        parts = urlsplit(url)
        self._parts = parts
        self._user = unquote(parts.username or "guest")
        self._password = unquote(parts.password or "guest")
        host = parts.hostname or "localhost"
        host = f"[{host}]" if ":" in host else host
        tls = parts.scheme == "amqps"
        here = f"https://{host}:15671" if tls else f"http://{host}:15672"
        self._management = management or here
        self._created: set[str] = set()

    @property
    def url(self) -> str:
        """The url as it was given."""
        return self._parts.geturl()

    def new_vhost(self) -> str:
        """The url of a virtual host made for the caller.

        Raises BrokerError when the management API does not answer or refuses.
        """
        name = new_name()
        self._request("PUT", f"vhosts/{name}", {})
        self._created.add(name)
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self._request("PUT", f"permissions/{name}/{quote(self._user, safe='')}", everything)
        return self._parts._replace(path=f"/{name}").geturl()

    def discard_vhost(self, url: str) -> None:
        """Remove what `new_vhost` made; a virtual host that it did not make is left alone."""
        name = urlsplit(url).path.removeprefix("/")
        if name in self._created:
            self._request("DELETE", f"vhosts/{name}", None)
            self._created.remove(name)

    def stop(self) -> None:
        """Remove every virtual host made here; the broker goes on."""
        for name in sorted(self._created):
            self._request("DELETE", f"vhosts/{name}", None)
            self._created.remove(name)

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> None:
        credentials = base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
        request = urllib.request.Request(
            f"{self._management}/api/{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Basic {credentials}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT):
                pass
        except urllib.error.HTTPError as error:
            with error:
                raise BrokerError(
                    f"{self._management} refused {method} {path} ({error.code} {error.reason}): "
                    f"give the user {self._user!r} the tag `administrator`"
                ) from error
        except OSError as error:
            raise BrokerError(
                f"no virtual host can be made on {self._parts.hostname}: its management API at "
                f"{self._management} does not answer ({error}); enable the plugin "
                "rabbitmq_management there, or leave RESONATE_AMQP_TEST_URL unset"
            ) from error
