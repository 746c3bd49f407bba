"""A broker, or what stands in front of it, that hangs up in the moment in which it accepts."""

from __future__ import annotations

import socket

from pika.adapters.select_connection import IOLoop

from resonate_amqp.brokers.rabbitmq.link import Services


def test_a_socket_that_is_no_longer_connected_fails_the_attempt_and_not_the_loop() -> None:
    loop = IOLoop()
    loop.activate_poller()
    never_connected = socket.socket()
    told: list[object] = []
    Services(loop).create_streaming_connection(
        protocol_factory=object, sock=never_connected, on_done=told.append
    )
    assert told == []
    while not told:
        loop.process_timeouts()
    [error] = told
    assert isinstance(error, ConnectionResetError)
    assert error.strerror == "Connection reset by peer"
    assert never_connected.fileno() == -1
    loop.deactivate_poller()
    loop.close()
