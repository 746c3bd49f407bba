"""Claims: a message of a foreign queue is executed by the process that received it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from resonate_amqp.core.leases import DOUBT_MS
from resonate_amqp.core.model import ORIGIN, PARENT, SCOPE, TARGET, PromiseState, TaskState
from resonate_amqp.core.requests import PromiseCreate, PromiseSettle, TaskContinue, TaskHalt
from resonate_amqp.errors import Conflict, Stopped
from resonate_amqp.runtime.claims import Begun, Claim, Claimed, Elsewhere, Failed, Left, Settled
from resonate_amqp.runtime.context import Context
from resonate_amqp.runtime.ending import Ending
from resonate_amqp.runtime.outcomes import Outcome, Postponed
from resonate_amqp.wire.codec import encode_call
from tests.runtime.workshop import DAY_MS, GROUP, Hand, Workshop

Told = list[Claimed]


def waits(ctx: Context) -> Iterator[Any]:
    """A workflow that waits for somebody outside."""
    answer = yield ctx.promise(id="answer")
    return (yield answer)


def postponed(ctx: Context) -> None:
    raise Postponed(30)


def rejects(ctx: Context) -> Any:
    return Outcome("no", {"resonate:intent": "reject"})


def shop(**settings: Any) -> Workshop:
    return Workshop(waits, postponed, rejects, **settings)


def claim(
    workshop: Workshop,
    hand: Hand,
    function: str,
    promise_id: str = "r",
    *,
    redelivered: bool = False,
    patient: bool = True,
) -> Told:
    """Have a worker claim a call; answers what it is told, now and later."""
    told: Told = []
    tags = {ORIGIN: promise_id, PARENT: promise_id, SCOPE: "global", TARGET: f"poll://any@{GROUP}"}
    create = PromiseCreate(
        id=promise_id,
        timeout_at=workshop.office.clock.now() + DAY_MS,
        param=encode_call(function, 1, (), {}),
        tags=tags,
    )
    made = Claim(create, told.append, redelivered, patient)
    hand.session.post(lambda: hand.worker.claims.add(made))
    workshop.rest()
    return told


def kinds(told: Told) -> list[type]:
    return [type(one) for one in told]


def answer(workshop: Workshop) -> None:
    workshop.ask(PromiseSettle(id="answer", state=PromiseState.RESOLVED))
    workshop.rest()


def test_a_claim_runs_where_it_was_made_and_is_told_the_recorded_outcome() -> None:
    workshop = shop()
    told = claim(workshop, workshop.hire(), "quick")
    assert kinds(told) == [Begun, Settled]
    assert workshop.result() == 2
    assert workshop.kinds() == [["task.create"], ["task.fulfill"]]
    workshop.check()


def test_a_second_claim_is_told_what_the_first_recorded_and_runs_nothing() -> None:
    workshop = shop()
    first, second = workshop.hire("p1"), workshop.hire("p2")
    claim(workshop, first, "rejects")
    told = claim(workshop, second, "rejects", redelivered=True)
    assert kinds(told) == [Settled]
    settled = told[0]
    assert isinstance(settled, Settled)
    assert settled.promise.value.headers["resonate:intent"] == "reject"
    assert not second.bench.began


def test_a_claim_of_what_runs_elsewhere_is_told_so() -> None:
    workshop = shop()
    first, second = workshop.hire("p1"), workshop.hire("p2")
    claim(workshop, first, "slow")
    told = claim(workshop, second, "slow", redelivered=True)
    assert kinds(told) == [Elsewhere]
    assert isinstance(told[0], Elsewhere)
    assert told[0].task.state is TaskState.ACQUIRED
    first.bench.end("r")
    workshop.rest()
    assert workshop.result() == 2


def test_a_living_process_is_never_replaced_however_often_its_message_returns() -> None:
    workshop = shop()
    first, second = workshop.hire("p1"), workshop.hire("p2")
    claim(workshop, first, "slow")
    for _ in range(10):
        assert kinds(claim(workshop, second, "slow", redelivered=True)) == [Elsewhere]
        workshop.pass_time(DOUBT_MS // 2)
    assert workshop.task().version == 1
    first.bench.end("r")
    workshop.rest()
    assert not second.bench.began


def test_a_dead_process_is_replaced_once_the_doubt_has_passed() -> None:
    workshop = shop()
    first, second = workshop.hire("p1"), workshop.hire("p2")
    claim(workshop, first, "slow")
    first.die()
    assert kinds(claim(workshop, second, "slow", redelivered=True)) == [Elsewhere]
    workshop.pass_time(DOUBT_MS)
    assert second.bench.began["r"] == 1
    second.bench.end("r")
    workshop.rest()
    assert workshop.result() == 2
    workshop.check()


def test_a_redelivery_claims_what_a_dead_process_left_when_nobody_serves_the_group() -> None:
    workshop = shop()
    first, second = workshop.hire("p1"), workshop.hire("p2")
    claim(workshop, first, "slow")
    first.die()
    second.worker.stop_taking()
    claim(workshop, second, "slow", redelivered=True)
    workshop.pass_time(DOUBT_MS)
    assert kinds(claim(workshop, second, "slow", redelivered=True)) == [Begun]


def test_a_claimed_body_that_waits_long_is_handed_over_and_goes_on_from_the_group() -> None:
    workshop = shop(park_after=1)
    hand = workshop.hire()
    told = claim(workshop, hand, "waits")
    assert kinds(told) == [Begun]
    workshop.pass_time(2_000)
    assert told[1:] == [Left(Ending.SUSPENDED)]
    answer(workshop)
    assert workshop.promise().state is PromiseState.RESOLVED
    workshop.check()


def test_an_impatient_claim_is_handed_over_as_soon_as_it_waits() -> None:
    workshop = shop()
    told = claim(workshop, workshop.hire(), "waits", patient=False)
    assert told[1:] == [Left(Ending.SUSPENDED)]
    answer(workshop)
    assert workshop.promise().state is PromiseState.RESOLVED


@pytest.mark.parametrize("function", ["waits", "slow"])
def test_a_claim_waits_for_a_slot_and_makes_room_by_parking(function: str) -> None:
    workshop = shop(prefetch=1)
    hand = workshop.hire()
    first = claim(workshop, hand, function, "first")
    second = claim(workshop, hand, "quick", "second")
    assert kinds(second) == []
    if function == "slow":
        hand.bench.end("first")
        workshop.rest()
    else:
        workshop.pass_time(1_000)
        assert first[1:] == [Left(Ending.SUSPENDED)]
    assert kinds(second) == [Begun, Settled]


def test_a_postponed_body_has_no_outcome_and_the_next_claim_runs_it_at_once() -> None:
    workshop = shop()
    hand = workshop.hire()
    assert claim(workshop, hand, "postponed") == [Begun(), Left(Ending.RELEASED)]
    assert workshop.state() is TaskState.PENDING
    workshop.pass_time(29_000)
    assert hand.bench.began["r"] == 1
    claim(workshop, hand, "postponed")
    assert hand.bench.began["r"] == 2


def test_a_postponed_body_is_offered_to_the_group_after_its_delay() -> None:
    workshop = shop()
    hand = workshop.hire()
    claim(workshop, hand, "postponed")
    workshop.pass_time(30_000)
    assert hand.bench.began["r"] == 2


def test_an_id_that_stands_for_another_function_is_a_conflict() -> None:
    workshop = shop()
    hand = workshop.hire()
    claim(workshop, hand, "quick")
    told = claim(workshop, hand, "rejects")
    assert kinds(told) == [Failed]
    assert isinstance(told[0], Failed)
    assert isinstance(told[0].error, Conflict)


def test_a_claim_in_conflict_keeps_no_lease_of_the_other_function_s_task() -> None:
    workshop = shop()
    hand = workshop.hire()
    claim(workshop, hand, "postponed")
    assert kinds(claim(workshop, hand, "rejects")) == [Failed]
    assert workshop.task().state is TaskState.PENDING


def test_a_claim_that_is_not_answered_is_told_when_nothing_will_come_any_more() -> None:
    workshop = shop()
    hand = workshop.hire()
    with workshop.without_ledger():
        told = claim(workshop, hand, "quick")
        assert told == []
        hand.worker.claims.fail_all(Stopped("over"))
    assert kinds(told) == [Failed]


def test_a_claimed_body_that_goes_on_under_an_execute_is_told_of_all_the_same() -> None:
    workshop = shop()
    hand = workshop.hire()
    told = claim(workshop, hand, "slow")
    workshop.ask(TaskHalt(id="r", reason="an operator takes it away"))
    workshop.ask(TaskContinue(id="r"))
    workshop.rest()
    hand.bench.end("r")
    workshop.rest()
    assert kinds(told) == [Begun, Settled]
    assert hand.bench.began["r"] == 1
    workshop.check()


def test_a_claimed_body_whose_task_went_elsewhere_is_told_that_it_is_lost() -> None:
    workshop = shop()
    hand = workshop.hire()
    told = claim(workshop, hand, "slow")
    workshop.ask(TaskHalt(id="r", reason="an operator takes it away"))
    hand.bench.end("r")
    workshop.rest()
    assert told[1:] == [Left(Ending.LOST)]


def test_a_message_that_kills_whoever_claims_it_is_halted() -> None:
    workshop = shop(max_deliveries=3)
    began = 0
    for number in range(8):
        hand = workshop.hire(f"p{number}")
        hand.worker.stop_taking()
        claim(workshop, hand, "slow", redelivered=True)
        workshop.pass_time(DOUBT_MS)
        claim(workshop, hand, "slow", redelivered=True)
        began += hand.bench.began["r"]
        hand.die()
    assert (workshop.state(), began) == (TaskState.HALTED, 4)
