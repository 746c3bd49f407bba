"""A cluster of private nodes on one machine."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from resonate_amqp.dev.binaries import find
from resonate_amqp.dev.broker import PrivateBroker
from resonate_amqp.dev.loopback import HOST, free_ports


class Member(PrivateBroker):
    """One of `count` nodes that know each other by a port mapper and a cookie in common."""

    def __init__(self, home: Path, number: int, count: int, mapper: int, cookie: str) -> None:
        names = [f"resonate{one}@localhost" for one in range(count)]
        lines = ["cluster_formation.peer_discovery_backend = classic_config"] + [
            f"cluster_formation.classic_config.nodes.{one + 1} = {name}"
            for one, name in enumerate(names)
        ]
        home.mkdir(parents=True)
        super().__init__(home, configuration="\n".join(lines), start_timeout=120)
        path = home / ".erlang.cookie"
        path.touch(mode=0o600)
        path.write_text(cookie, encoding="ascii")
        path.chmod(0o400)
        self.name = names[number]
        self._epmd_port = mapper

    def _environment(self, home: Path) -> dict[str, str]:
        return super()._environment(home) | {"RABBITMQ_NODENAME": self.name}


@contextlib.contextmanager
def cluster(folder: Path, count: int) -> Iterator[list[Member]]:
    """So many running nodes, which have found each other."""
    (mapper,) = free_ports(1)
    environment = {"ERL_EPMD_ADDRESS": HOST, "ERL_EPMD_PORT": str(mapper)}
    cookie = secrets.token_hex(16)
    members = [Member(folder / str(one), one, count, mapper, cookie) for one in range(count)]
    epmd = subprocess.Popen([find().epmd], env=environment, stderr=subprocess.DEVNULL)
    try:
        with ThreadPoolExecutor(count) as threads:
            list(threads.map(Member.start, members))
        members[0].control("await_online_nodes", str(count))
        yield members
    finally:
        for member in members:
            member.kill()
        epmd.kill()
        epmd.wait()


def urls(members: list[Member], vhost_url: str) -> str:
    """The urls of one virtual host at every node, joined."""
    path = urlsplit(vhost_url).path
    return ";".join(member.url.rpartition("/")[0] + path for member in members)
