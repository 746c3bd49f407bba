"""The container: what can be said without Docker, and a real start where there is Docker."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pika
import pytest

from resonate_amqp.dev.container import ContainerBroker
from resonate_amqp.errors import BrokerError


def test_a_silent_docker_is_reported_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    broker = ContainerBroker()
    with pytest.raises(BrokerError, match=r"Docker does not answer.*install rabbitmq-server"):
        broker.start()
    broker.stop()


def test_a_container_that_does_not_run_has_no_url() -> None:
    with pytest.raises(BrokerError, match=r"call start\(\) first"):
        _ = ContainerBroker().url


@pytest.mark.docker
@pytest.mark.timeout(300)
def test_a_container_answers_and_gives_virtual_hosts() -> None:
    with ContainerBroker() as broker:
        for url in (broker.url, broker.new_vhost(), broker.new_vhost()):
            with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
                assert connection.is_open
        with pytest.raises(BrokerError, match="failed"):
            broker.control("no_such_command")
