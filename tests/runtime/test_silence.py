"""What is told of a ledger that does not answer, of a consumer that never comes, and how often."""

from __future__ import annotations

import logging

import pytest

from resonate_amqp.runtime.silence import Silence


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.at = 1_000

    def now(self) -> int:
        return self.at

    def monotonic(self) -> int:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def silence(clock: Clock, caplog: pytest.LogCaptureFixture) -> Silence:
    caplog.set_level(logging.INFO, "resonate_amqp")
    return Silence(clock)


def look(silence: Silence, clock: Clock, seconds: int, unanswered: int = 1) -> None:
    """Look once a second for so long, as a loop does that has nothing to do."""
    for _ in range(seconds):
        clock.at += 1_000
        silence.look(unanswered, "")


def test_a_silent_ledger_is_told_after_ten_seconds_then_once_a_minute_and_when_it_is_back(
    silence: Silence, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    look(silence, clock, 10)
    assert caplog.messages == []
    look(silence, clock, 1)
    (told,) = caplog.messages
    assert "wait for 10 s already" in told
    assert "resonate-amqp ledger serve" in told
    assert caplog.records[0].levelname == "WARNING"
    look(silence, clock, 59)
    assert len(caplog.messages) == 1
    look(silence, clock, 61)
    assert len(caplog.messages) == 3
    silence.heard()
    silence.heard()
    assert caplog.messages[3:] == ["the ledger answers again"]
    look(silence, clock, 10)
    assert len(caplog.messages) == 4


def test_a_ledger_that_answers_something_or_is_asked_nothing_is_not_silent(
    silence: Silence, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(10):
        look(silence, clock, 9)
        silence.heard()
    for _ in range(10):
        look(silence, clock, 9)
        look(silence, clock, 1, unanswered=0)
    assert caplog.messages == []


def test_a_broker_that_has_no_ledger_at_all_is_told_so(
    silence: Silence, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    silence.look(1, "not routable: 00")
    clock.at += 10_000
    silence.look(1, "not routable: 00")
    assert "no ledger has ever run here (not routable: 00)" in caplog.text


def test_a_consumer_that_is_never_confirmed_is_told_and_one_that_is_late_when_it_comes(
    silence: Silence, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    silence.asked("work")
    silence.asked("prompt")
    silence.consuming("prompt")
    look(silence, clock, 5, unanswered=0)
    silence.asked("work")
    silence.asked("prompt")
    look(silence, clock, 60, unanswered=0)
    (told,) = caplog.messages
    assert "has not confirmed a consumer of work for 10 s" in told
    silence.consuming("work")
    assert caplog.messages[1:] == ["work is consumed now"]


def test_a_consumer_that_is_asked_for_again_and_again_is_told_once_a_minute(
    silence: Silence, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(4):
        silence.asked("work")
        look(silence, clock, 30, unanswered=0)
        silence.ended("work")
    assert len(caplog.messages) == 2
    silence.consuming("work")
    assert caplog.messages[2:] == ["work is consumed now"]


def test_a_refusal_is_told_once_a_minute_and_when_it_is_over(
    silence: Silence, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(13):
        silence.asked("work")
        silence.refused("work", "no such queue")
        look(silence, clock, 5, unanswered=0)
    assert caplog.messages == ["the broker refuses work: no such queue"] * 2
    silence.consuming("work")
    assert caplog.messages[2:] == ["work is consumed now"]


def test_nothing_is_told_of_consumers_that_were_lost_or_given_up(
    silence: Silence, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    silence.asked("refused")
    silence.ended("refused")
    silence.asked("cut off")
    silence.disconnected()
    look(silence, clock, 60, unanswered=0)
    assert caplog.messages == []
    silence.consuming("work")
    silence.ended("work")
    silence.asked("work")
    look(silence, clock, 11, unanswered=0)
    assert len(caplog.messages) == 1
