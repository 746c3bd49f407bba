"""What can be done to a process from outside: see that it stands still, and cut its connections."""

from __future__ import annotations

import re
from pathlib import Path

from resonate_amqp.dev.broker import PrivateBroker

_CLOSE = """
[rabbit_networking:close_connection(Pid, "closed by a test")
 || [{{pid, Pid}}, {{port, Port}}, {{peer_port, PeerPort}}, {{client_properties, Properties}}]
      <- rabbit_networking:connection_info_all([pid, port, peer_port, client_properties]),
    lists:member({{PeerPort, Port}}, [{ends}]),
    {{<<"connection_name">>, longstr, Name}} <- Properties,
    lists:suffix(" consume", binary_to_list(Name))].
"""
_ESTABLISHED = "01"
_SOCKET = re.compile(r"socket:\[(\d+)\]")


def stands_still(pid: int) -> bool:
    """Whether a process was stopped by SIGSTOP."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    return stat.rpartition(")")[2].split()[0] == "T"


def close_consuming(node: PrivateBroker, pid: int) -> None:
    """Close a process's consuming connection: what it holds goes back, what it sends arrives."""
    ends = ", ".join(f"{{{own}, {other}}}" for own, other in sorted(connected(pid)))
    closed = node.control("eval", _CLOSE.format(ends=ends))
    assert closed.split() == ["[ok]"], closed


def connected(pid: int) -> set[tuple[int, int]]:
    """The established TCP connections of a process, each as its own port and the other end's.

    The kernel lists the sockets of every process, and those that no process holds any more (in
    TIME_WAIT) with inode 0: only what this process has open counts, told by both its ends.
    """
    links = [_opened(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    inodes = {found[1] for link in links if (found := _SOCKET.fullmatch(link))}
    lines = Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    rows = [line.split() for line in lines]
    return {
        (_port(row[1]), _port(row[2]))
        for row in rows
        if row[3] == _ESTABLISHED and row[9] in inodes
    }


def _opened(descriptor: Path) -> str:
    """What a descriptor stands for; nothing once it is closed."""
    try:
        return descriptor.readlink().name
    except FileNotFoundError:
        return ""


def _port(address: str) -> int:
    return int(address.partition(":")[2], 16)
