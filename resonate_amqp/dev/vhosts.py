"""Virtual hosts made ahead: asking a node for one costs as much as asking it for many."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from urllib.parse import quote

# The functions behind `rabbitmqctl add_vhost`, `set_permissions` and `delete_vhost`; the same
# from RabbitMQ 3.8 to 4.x. A name that is gone already is no reason to fail.
_RENEW = """
[catch rabbit_vhost:delete(Name, <<"guest">>) || Name <- [{discarded}]],
[begin
   ok = rabbit_vhost:add(Name, <<"guest">>),
   ok = rabbit_auth_backend_internal:set_permissions(
     <<"guest">>, Name, <<".*">>, <<".*">>, <<".*">>, <<"guest">>)
 end || Name <- [{wanted}]],
ok.
"""


class Vhosts:
    """Fresh virtual hosts of one node, open to its user `guest`.

    `evaluate` runs an Erlang expression on the node, as `rabbitmqctl eval` does, and raises what
    it likes when it cannot. One call of it makes `batch` virtual hosts and removes the discarded
    ones.
    """

    def __init__(self, evaluate: Callable[[str], str], batch: int = 8) -> None:
        self._evaluate = evaluate
        self._batch = batch
        self._ready: list[str] = []
        self._discarded: list[str] = []
        self._lock = threading.Lock()

    def take(self) -> str:
        """The name of a virtual host that nobody was given before."""
        with self._lock:
            if not self._ready:
                self._ready = self._renew()
            return self._ready.pop()

    def discard(self, name: str) -> None:
        """Give a name up; its queues and messages go with the next batch."""
        with self._lock:
            self._discarded.append(name)

    def _renew(self) -> list[str]:
        wanted = [new_name() for _ in range(self._batch)]
        self._evaluate(
            _RENEW.format(discarded=_binaries(self._discarded), wanted=_binaries(wanted))
        )
        self._discarded.clear()
        return wanted


def new_name() -> str:
    """A name for a virtual host which no other has, recognisable as a test's."""
    return f"resonate-{secrets.token_hex(6)}"


def amqp_url(host: str, port: int, vhost: str) -> str:
    """The url of a virtual host for the user `guest`."""
    return f"amqp://guest:guest@{host}:{port}/{quote(vhost, safe='')}".replace("%2F", "%2f")


def _binaries(names: list[str]) -> str:
    return ", ".join(f'<<"{name}">>' for name in names)
