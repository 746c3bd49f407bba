"""What a connection that is lost, stays down and comes back leaves in the log."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from resonate_amqp.brokers.rabbitmq import RabbitBroker
from resonate_amqp.dev.broker import PrivateBroker
from resonate_amqp.ports import Disconnected, Opened
from tests.brokers.party import Party

pytestmark = [pytest.mark.rabbitmq, pytest.mark.processes]

ATTEMPTS = 8


def ours(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name.startswith("resonate_amqp")]


def test_a_broker_that_is_down_is_told_once_with_the_reason_however_often_it_is_tried(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "resonate_amqp")
    with PrivateBroker(tmp_path) as node:
        url = node.new_vhost()
        party = Party(RabbitBroker(url), [])
        party.await_event(Opened)
        shown = party.broker.shown  # type: ignore[attr-defined]  # RabbitBroker has it
        node.kill()
        party.until(lambda: len(party.all(Disconnected)) >= ATTEMPTS)
        first, lost = ours(caplog)
        assert first == f"connected to {shown}"
        assert lost.startswith(f"no connection to {shown}: ")
        assert all(one.reason for one in party.all(Disconnected))
        assert party.all(Disconnected)[-1].reason == "Connection refused"
        node.start()
        party.until(lambda: len(party.all(Opened)) == 2, within_s=20)
        assert ours(caplog)[2:] == [first]
        party.close()


@pytest.mark.parametrize(
    ("broken", "reason"),
    [("password", "refused user, password or virtual host"), ("vhost", "not found")],
)
def test_a_refusal_is_told_in_words(
    vhost_url: str, caplog: pytest.LogCaptureFixture, broken: str, reason: str
) -> None:
    wrong = {
        "password": vhost_url.replace("guest:guest@", "guest:wrong@"),
        "vhost": vhost_url + "-unknown",
    }
    party = Party(RabbitBroker(wrong[broken]), [])
    party.until(lambda: any(one.refused for one in party.all(Disconnected)))
    (told,) = ours(caplog)
    assert reason in told
    assert not any(word in told for word in ("str:", "Workflow", "Connector"))
    party.close()
