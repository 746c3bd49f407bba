"""Which connections of a process are cut: its own, and none that another one holds or held."""

from __future__ import annotations

import os
import socket

import pytest

from tests.chaos.cutting import connected

pytestmark = [pytest.mark.chaos, pytest.mark.processes]


def test_only_established_connections_count_told_by_both_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            own = client.getsockname()[1]
            with accepted:
                found = connected(os.getpid())
        assert (own, port) in found
        assert (port, own) in found
        assert all(other for _, other in found), "a listening socket has no other end"
        assert not {(own, port), (port, own)} & connected(os.getpid())
