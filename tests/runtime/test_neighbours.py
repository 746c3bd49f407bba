"""A worker of this release with a ledger of the one before: less is done, and nothing is lost."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Any

import msgspec
import pytest

from resonate_amqp.core.model import PROTOCOL, TaskState
from resonate_amqp.errors import LedgerError
from resonate_amqp.runtime.context import Context
from resonate_amqp.wire import envelope
from resonate_amqp.wire.requests import _READERS as READERS
from tests.core.world import settle
from tests.runtime.workshop import Hand, Workshop

Body = Generator[Any, Any, Any]

HOLD_MAX = 10_000
SWEEP = 1_100
"""Milliseconds within which a worker looks at the age of its bodies."""
OFFERED_AGAIN = 6_000


def works_and_calls(ctx: Context) -> Body:
    """A long local step, then another."""
    done = yield ctx.lfc("slow", 5)
    return (yield ctx.lfc("slow", done))


def calls_by_name(ctx: Context) -> Body:
    """A call with an id of its own."""
    return (yield ctx.rfc("quick", 4).options(id="named"))


def waits_for_another(ctx: Context) -> Body:
    return (yield ctx.get("elsewhere"))


def opened(**settings: Any) -> Workshop:
    made = {"hold_max": HOLD_MAX / 1000, "park_after": 1_000} | settings
    return Workshop(works_and_calls, calls_by_name, waits_for_another, **made)


@pytest.fixture
def unmoved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger does not know `task.lease`."""
    monkeypatch.delitem(READERS, "task.lease")


def test_a_leaf_whose_lease_cannot_be_moved_goes_on_under_its_delivery(unmoved: None) -> None:
    workshop = opened()
    hand = workshop.hire()
    workshop.call("slow", 3)
    workshop.pass_time(HOLD_MAX + SWEEP)
    assert (workshop.state(), hand.unacked) == (TaskState.ACQUIRED, 1)
    hand.bench.end("r")
    workshop.rest()
    assert (workshop.result(), hand.bench.began, workshop.task().version) == (6, {"r": 1}, 1)
    workshop.check()


def test_the_move_is_asked_for_once_per_hold_max_and_made_when_the_ledger_knows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workshop = opened()
    hand = workshop.hire()
    moves = watched(workshop)
    with monkeypatch.context() as older:
        older.delitem(READERS, "task.lease")
        workshop.call("slow", 3)
        workshop.pass_time(4 * (HOLD_MAX + SWEEP))
        assert 3 <= len(moves) <= 4
        assert hand.unacked == 1
    workshop.pass_time(HOLD_MAX + SWEEP)
    assert (workshop.task().ticket, hand.unacked) == ("", 0)
    hand.bench.end("r")
    workshop.rest()
    assert (workshop.result(), hand.bench.began) == (6, {"r": 1})
    workshop.check()


def test_what_stood_in_a_refused_group_is_sent_again_without_the_move(unmoved: None) -> None:
    workshop = opened()
    hand = workshop.hire()
    workshop.call("works_and_calls")
    workshop.pass_time(HOLD_MAX)
    with workshop.without_ledger():
        hand.bench.end("r:1")
        hand.turn()
        workshop.pass_time(SWEEP)
    workshop.rest()
    assert workshop.promise("r:1").value.data
    hand.bench.end("r:2")
    workshop.rest()
    assert (workshop.result(), hand.bench.began) == (20, {"r:1": 1, "r:2": 1})
    workshop.check()


def test_a_move_refused_together_with_the_acquire_starts_nothing_twice(unmoved: None) -> None:
    workshop = opened(hold_max=0.02)
    hand = workshop.hire()
    workshop.call("slow", 3)
    workshop.pass_time(200)
    assert (workshop.state(), hand.bench.began, hand.unacked) == (
        TaskState.ACQUIRED,
        {"r": 1},
        1,
    )
    hand.bench.end("r")
    workshop.rest()
    assert workshop.result() == 6
    workshop.check()


@pytest.mark.parametrize("function", ["calls_by_name", "waits_for_another"])
def test_a_mirror_is_not_recorded_by_a_ledger_that_would_take_it_for_a_promise(
    monkeypatch: pytest.MonkeyPatch, function: str, caplog: pytest.LogCaptureFixture
) -> None:
    workshop = opened()
    with monkeypatch.context() as older, caplog.at_level(logging.ERROR):
        older.setattr(envelope, "LEVEL", 0)
        workshop.hire()
        workshop.call(function)
        workshop.pass_time(OFFERED_AGAIN)
        assert [promise for promise in workshop.ledger.promises if promise != "r"] == []
        assert workshop.state() is not TaskState.FULFILLED
        assert "r needs a ledger of this release" in caplog.text
    if function == "waits_for_another":
        workshop.call("quick", 4, promise_id="elsewhere")
    workshop.pass_time(2 * OFFERED_AGAIN)
    assert workshop.result() == 8
    workshop.check()


def test_answers_of_another_version_are_told_once_and_to_those_who_wait(
    caplog: pytest.LogCaptureFixture,
) -> None:
    workshop = opened()
    hand = workshop.hire()
    told: list[object] = []
    foreign = msgspec.json.encode({"kind": "replies", "version": "2031-01-01", "now": 1})
    with workshop.without_ledger(), caplog.at_level(logging.ERROR):
        hand.session.calls.send([settle("r")], told.append, about="r", timeout_ms=5_000)
        for _ in range(3):
            workshop.client.connection.publish(address(hand), foreign)
        workshop.pass_time(5_000)
    [refused] = told
    assert isinstance(refused, LedgerError)
    assert "'2031-01-01' is not spoken here" in str(refused)
    assert PROTOCOL in str(refused)
    assert caplog.text.count("answers are dropped") == 1


def test_an_execute_of_another_version_is_one_dead_letter_that_names_both(
    caplog: pytest.LogCaptureFixture,
) -> None:
    workshop = opened()
    hand = workshop.hire()
    execute = {"kind": "execute", "version": "2031-01-01", "head": {}, "data": {}}
    with caplog.at_level(logging.ERROR):
        workshop.client.connection.publish("resonate.any.g", msgspec.json.encode(execute))
        workshop.pass_time(60_000)
    [dead] = workshop.office.dead()
    assert "'2031-01-01' is not spoken here" in dead["reason"]
    assert PROTOCOL in dead["reason"]
    assert caplog.text.count("dead-lettered") == 1
    assert hand.unacked == 0


def address(hand: Hand) -> str:
    """Where a worker is answered."""
    return hand.session._reply_name()


def watched(workshop: Workshop) -> list[bytes]:
    """The requests with a move that are sent from now on."""
    moves: list[bytes] = []

    def see(_queue: str, body: bytes) -> bool:
        if b'"kind":"task.lease"' in body and b'"requests"' in body:
            moves.append(body)
        return False

    workshop.lost = see
    return moves
