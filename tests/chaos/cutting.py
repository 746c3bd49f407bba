"""What can be done to a process from outside: see that it stands still, and cut its connections."""

from __future__ import annotations

from pathlib import Path

from resonate_amqp.dev.broker import PrivateBroker

_CLOSE = """
[rabbit_networking:close_connection(Pid, "closed by a test")
 || [{{pid, Pid}}, {{peer_port, Port}}, {{client_properties, Properties}}]
      <- rabbit_networking:connection_info_all([pid, peer_port, client_properties]),
    lists:member(Port, [{ports}]),
    {{<<"connection_name">>, longstr, Name}} <- Properties,
    binary:match(Name, <<"{which}">>) =/= nomatch].
"""


def stands_still(pid: int) -> bool:
    """Whether a process was stopped by SIGSTOP."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    return stat.rpartition(")")[2].split()[0] == "T"


def close_consuming(node: PrivateBroker, pid: int) -> None:
    """Close a process's consuming connection: what it holds goes back, what it sends arrives."""
    ports = ", ".join(map(str, sorted(_ports(pid))))
    closed = node.control("eval", _CLOSE.format(ports=ports, which="consume"))
    assert closed.split() == ["[ok]"], closed


def _ports(pid: int) -> set[int]:
    """The local TCP ports of a process."""
    links = [path.readlink().name for path in Path(f"/proc/{pid}/fd").iterdir()]
    inodes = {link.removeprefix("socket:[").rstrip("]") for link in links}
    lines = Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    sockets = [line.split() for line in lines]
    return {int(words[1].partition(":")[2], 16) for words in sockets if words[9] in inodes}
