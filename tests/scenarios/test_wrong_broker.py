"""Brokers that cannot be used, and what only a real broker can do to a call."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from resonate_amqp import Context, Resonate
from resonate_amqp.brokers.rabbitmq import RabbitBroker
from resonate_amqp.errors import BrokerError, LedgerError, UsageError
from resonate_amqp.ports import Opened
from resonate_amqp.resonate.ledger import RunningLedger, start_ledger
from resonate_amqp.settings import Settings
from tests.scenarios.intruder import Intruder, requests

pytestmark = pytest.mark.rabbitmq


def double(_ctx: Context, n: int) -> int:
    return 2 * n


@pytest.fixture
def ledger(vhost_url: str, tmp_path: Path) -> Iterator[RunningLedger]:
    """A ledger service on the test's virtual host, in this process."""
    running = start_ledger(Settings(url=vhost_url, ledger=f"sqlite:///{tmp_path}/ledger.db"))
    yield running
    running.stop()


def client(url: str, request_timeout: float) -> Resonate:
    made = Resonate(url=url, group="g", request_timeout=request_timeout, grace=0.2)
    made.register(double)
    return made


def timed_out_after(resonate: Resonate, promise_id: str) -> tuple[Exception, float]:
    """The error of a call, and how long it took."""
    began = time.monotonic()
    with pytest.raises((BrokerError, LedgerError)) as refused:
        resonate.rpc(promise_id, double, 1)
    return refused.value, time.monotonic() - began


@pytest.mark.parametrize("wrong", ["password", "vhost"])
def test_a_broker_that_turns_us_away_fails_every_call_at_once(vhost_url: str, wrong: str) -> None:
    url = {
        "password": vhost_url.replace("guest:guest@", "guest:wrong@"),
        "vhost": vhost_url + "-unknown",
    }[wrong]
    resonate = client(url, 30)
    try:
        for number in range(3):
            error, seconds = timed_out_after(resonate, f"call-{number}")
            assert isinstance(error, BrokerError)
            assert "refused" in str(error) or "not found" in str(error)
            assert "url" in str(error)
            assert "wrong" not in str(error)
            assert seconds < 3
    finally:
        resonate.stop()


def test_an_unreachable_broker_fails_a_call_when_its_time_is_over() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    resonate = client(f"amqp://ann:secret@127.0.0.1:{port}/", 0.7)
    try:
        error, seconds = timed_out_after(resonate, "call")
        assert isinstance(error, BrokerError)
        assert "was not reached within 0.7 s" in str(error)
        assert "refused" in str(error).lower()
        assert "check the url and that the broker runs" in str(error)
        assert "secret" not in str(error)
        assert 0.6 < seconds < 3
    finally:
        resonate.stop()


def test_a_broker_without_a_ledger_is_said_to_be_one(vhost_url: str) -> None:
    resonate = client(vhost_url, 0.7)
    try:
        error, seconds = timed_out_after(resonate, "call")
        assert isinstance(error, BrokerError)
        assert "no ledger has ever run" in str(error)
        assert "resonate-amqp ledger serve" in str(error)
        assert seconds < 3
    finally:
        resonate.stop()


def test_a_ledger_that_does_not_run_just_now_is_another_error(
    vhost_url: str, ledger: RunningLedger
) -> None:
    """The request waits in the queue: whether it will be recorded is unknown, and it is."""
    before = client(vhost_url, 10)
    before.rpc("before", double, 1)
    before.stop()
    ledger.stop()
    resonate = client(vhost_url, 0.7)
    try:
        error, _ = timed_out_after(resonate, "call")
        assert isinstance(error, LedgerError)
        assert "the ledger did not answer within 0.7 s" in str(error)
        assert "call the same id again" in str(error)
    finally:
        resonate.stop()


def test_after_a_call_that_came_before_any_ledger_the_same_process_can_call(
    vhost_url: str, tmp_path: Path
) -> None:
    resonate = client(vhost_url, 0.5)
    timed_out_after(resonate, "early")
    running = start_ledger(Settings(url=vhost_url, ledger=f"sqlite:///{tmp_path}/ledger.db"))
    patient = client(vhost_url, 30)
    try:
        patient.start()
        assert patient.rpc("call", double, 21).result(20) == 42
        assert resonate.rpc("call", double, 21).result(20) == 42
    finally:
        patient.stop()
        resonate.stop()
        running.stop()


@pytest.mark.parametrize("url", ["redis://mq/0", "mq", "amqp://mq:port/"])
def test_a_url_that_is_none_is_refused_before_anything_is_tried(url: str) -> None:
    resonate = client(url, 30)
    with pytest.raises(UsageError, match="broker url"):
        resonate.rpc("call", double, 1)
    resonate.stop()


def test_what_cannot_be_read_is_kept_by_the_broker_and_calls_go_on(
    vhost_url: str, ledger: RunningLedger, caplog: pytest.LogCaptureFixture
) -> None:
    resonate = client(vhost_url, 10)
    broker = RabbitBroker(vhost_url)
    try:
        resonate.start()
        assert resonate.rpc("before", double, 1).result(10) == 2
        while not any(isinstance(event, Opened) for event in broker.poll(100)):
            pass
        intruder = Intruder(broker)
        with caplog.at_level(logging.ERROR, "resonate_amqp"):
            intruder.publish(b"{malformed")
            intruder.publish(b"[" * 100_000)
            reasons = [dead["reason"] for dead in intruder.dead(2)]
            assert "beyond 64 bits" in intruder.ask("promise.create", id="p", timeoutAt=2**63)
            assert resonate.rpc("after", double, 1).result(10) == 2
        assert sorted(reason[:23] for reason in reasons) == [
            "message: it is nested t",
            "message: it is not JSON",
        ]
        lines = [one for one in caplog.records if one.levelno >= logging.ERROR]
        assert len(lines) == 2
        assert ledger.running
    finally:
        broker.close()
        resonate.stop()


def test_a_function_nobody_has_is_offered_ever_later(
    vhost_url: str, ledger: RunningLedger, caplog: pytest.LogCaptureFixture
) -> None:
    resonate = client(vhost_url, 10)
    try:
        resonate.start()
        with caplog.at_level(logging.ERROR, "resonate_amqp"):
            handle = resonate.options(target="g").rpc("call", "triple", 5)
            with pytest.raises(TimeoutError):
                handle.result(1.5)
        told = [one.getMessage() for one in caplog.records if "'triple'" in one.getMessage()]
        assert 1 <= len(told) <= 3
        assert "(registered: double)" in told[0]
    finally:
        resonate.stop()
    other = client(vhost_url, 10)

    @other.register
    def triple(_ctx: Context, n: int) -> int:
        return 3 * n

    try:
        other.start()
        assert other.get("call").result(20) == 15
    finally:
        other.stop()


def test_an_empty_body_is_a_dead_letter_and_one_of_another_version_is_answered(
    vhost_url: str, ledger: RunningLedger
) -> None:
    resonate = client(vhost_url, 10)
    broker = RabbitBroker(vhost_url)
    try:
        resonate.rpc("before", double, 1)
        while not any(isinstance(event, Opened) for event in broker.poll(100)):
            pass
        intruder = Intruder(broker)
        intruder.publish(b"")
        [dead] = intruder.dead(1)
        assert "not JSON" in dead["reason"]
        intruder.publish(requests("promise.get", id="a").replace(b"2026", b"1999"))
        [answer] = intruder.wait(intruder.address, 1)
        assert b"protocol '1999-04-01' is not spoken here, this is '2026-04-01'" in answer
        assert len(intruder.dead(1)) == 1
    finally:
        broker.close()
        resonate.stop()
