"""The choice of a broker: the named one first, then a private node, then a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from resonate_amqp.dev import binaries
from resonate_amqp.dev.choose import TEST_URL, choose
from resonate_amqp.dev.foreign import ForeignBroker
from resonate_amqp.errors import BrokerError


def test_a_named_broker_comes_first_and_is_not_touched() -> None:
    chosen = choose({TEST_URL: "amqp://broker.example:5672/orders"})
    assert isinstance(chosen, ForeignBroker)
    assert chosen.url == "amqp://broker.example:5672/orders"
    chosen.stop()


def test_without_any_broker_the_error_names_every_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    monkeypatch.setattr(binaries, "UNWRAPPED", tmp_path)
    with pytest.raises(BrokerError, match=rf"{TEST_URL} is not set.*make system.*Docker"):
        choose({})
