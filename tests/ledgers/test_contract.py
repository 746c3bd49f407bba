"""What every ledger promises, whatever keeps its records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from resonate_amqp.core.batch import Backlog, Batch, Outcome
from resonate_amqp.core.model import Promise, PromiseState, TaskState, Value
from resonate_amqp.core.requests import Group, PromiseGet, Request, Response, TaskGet
from resonate_amqp.core.timers import Timer, TimerKind
from resonate_amqp.errors import Superseded
from resonate_amqp.ledgers.sql import SqlLedger
from resonate_amqp.ports import Ledger
from resonate_amqp.wire.address import MAX_ID
from resonate_amqp.wire.fields import MAX_KEY, MAX_TEXT
from tests.core.world import (
    DEADLINE,
    NOW,
    TTL,
    acquire,
    call,
    external,
    fence,
    heartbeat,
    internal,
    listener,
    release,
    settle,
    suspend,
)

Open = Callable[[], SqlLedger]


def apply(ledger: Ledger, *requests: Request, clock: int = NOW) -> Outcome:
    """Apply each request as a group of its own, all in one batch."""
    groups = [Group(id=f"g{n}", steps=(request,)) for n, request in enumerate(requests)]
    return ledger.apply(Batch(groups=groups), clock)


def answers(ledger: Ledger, *requests: Request, clock: int = NOW) -> list[Response]:
    return [responses[0] for responses in apply(ledger, *requests, clock=clock).answers]


def executes(found: Backlog | Outcome) -> list[tuple[str, int]]:
    return [(execute.promise.id, execute.version) for execute in found.executes]


def unblocks(found: Backlog | Outcome) -> list[tuple[str, str]]:
    return sorted((unblock.promise.id, unblock.address) for unblock in found.unblocks)


def test_what_a_batch_recorded_the_next_batch_sees(ledger: Ledger) -> None:
    created = answers(ledger, call("a"))[0].promise
    assert answers(ledger, PromiseGet(id="a"))[0].promise == created


def test_a_group_sees_what_an_earlier_group_of_its_batch_recorded(ledger: Ledger) -> None:
    assert [one.status for one in answers(ledger, external("a"), settle("a"))] == [200, 200]


def test_every_group_of_a_batch_is_answered_in_order(ledger: Ledger) -> None:
    found = answers(ledger, settle("x"), external("a"), settle("y"), PromiseGet(id="a"))
    assert [one.status for one in found] == [404, 200, 404, 200]


def test_a_failure_skips_the_rest_of_its_own_group_only(ledger: Ledger) -> None:
    failing = Group(id="g1", steps=(external("a"), settle("x"), external("b")))
    other = Group(id="g2", steps=(external("c"),))
    outcome = ledger.apply(Batch(groups=(failing, other)), NOW)
    assert [[one.status for one in group] for group in outcome.answers] == [[200, 404], [200]]
    kept = answers(ledger, *(PromiseGet(id=name) for name in "abc"))
    assert [one.status for one in kept] == [200, 404, 200]


def test_a_later_acquisition_is_given_the_settled_children_oldest_first(ledger: Ledger) -> None:
    apply(ledger, call("a"), acquire("a"))
    for clock, child in enumerate(("a:2", "a:1", "a:3", "b:1"), NOW):
        branch = child.partition(":")[0]
        apply(ledger, call(child, branch=branch), settle(child), clock=clock)
    apply(ledger, call("a:4", branch="a"), release("a"), clock=NOW + 9)
    preload = answers(ledger, acquire("a", 1, "h2", "t2"))[0].preload
    assert [child.id for child in preload] == ["a:2", "a:1", "a:3"]


def test_an_offered_task_is_to_be_executed(ledger: Ledger) -> None:
    outcome = apply(ledger, call("a"))
    assert executes(outcome) == [("a", 0)]
    assert outcome.executes[0].target == "poll://any@a"


def test_a_task_acquired_in_the_batch_that_offers_it_is_not_to_be_executed(ledger: Ledger) -> None:
    assert executes(apply(ledger, call("a"), acquire("a"))) == []


def test_a_settled_promise_is_told_to_its_listeners(ledger: Ledger) -> None:
    apply(ledger, external("a"), listener("a", "l1"), listener("a", "l2"))
    outcome = apply(ledger, settle("a"))
    assert unblocks(outcome) == [("a", "l1"), ("a", "l2")]
    assert not outcome.unblocks[0].promise.pending


def test_the_timers_of_what_was_written_are_answered(ledger: Ledger) -> None:
    outcome = apply(ledger, call("a"), acquire("a"), internal("b"))
    assert set(outcome.timers) == {
        Timer(DEADLINE, TimerKind.DEADLINE, "a"),
        Timer(NOW + TTL, TimerKind.LEASE, "a"),
    }


def test_timers_are_taken_before_the_groups(ledger: Ledger) -> None:
    apply(ledger, call("a", 2_000))
    group = Group(id="g", steps=(acquire("a"),))
    batch = Batch(groups=(group,), timers=(Timer(2_000, TimerKind.DEADLINE, "a"),))
    assert ledger.apply(batch, 2_000).answers[0][0].status == 409


def test_a_lease_is_spared_while_its_holder_could_not_be_heard(ledger: Ledger) -> None:
    apply(ledger, call("a"), acquire("a"))
    due = (Timer(NOW + TTL, TimerKind.LEASE, "a"),)
    assert executes(ledger.apply(Batch(timers=due, heard_since=NOW + 1), NOW + TTL)) == []
    assert executes(ledger.apply(Batch(timers=due, heard_since=NOW), NOW + TTL)) == [("a", 1)]


def test_an_instant_is_never_earlier_than_the_last_one(ledger: Ledger) -> None:
    assert apply(ledger, clock=5_000).now == 5_000
    assert apply(ledger, clock=4_000).now == 5_000


def test_a_promotion_takes_no_instant_back(ledger: Ledger) -> None:
    apply(ledger, clock=5_000)
    assert ledger.promote(4_000).now == 5_000
    assert apply(ledger, clock=4_500).now == 5_000


def test_a_promotion_with_a_later_clock_moves_time(ledger: Ledger) -> None:
    ledger.promote(7_000)
    assert apply(ledger, clock=0).now == 7_000


def test_a_promoted_ledger_finds_the_offers_that_were_not_confirmed(ledger: Ledger) -> None:
    offered = apply(ledger, call("a"), call("b")).executes
    ledger.apply(Batch(confirmed=[offered[0].serial]), NOW)
    backlog = ledger.promote(NOW)
    assert executes(backlog) == [("b", 0)]
    assert (backlog.executes[0].serial, backlog.executes[0].target) == (
        offered[1].serial,
        "poll://any@a",
    )


def test_a_promoted_ledger_finds_the_listeners_that_were_not_notified(ledger: Ledger) -> None:
    apply(ledger, external("a"), listener("a", "l1"), listener("a", "l2"), settle("a"))
    ledger.apply(Batch(notified=[("a", "l1")]), NOW)
    backlog = ledger.promote(NOW)
    assert unblocks(backlog) == [("a", "l2")]
    assert backlog.unblocks[0].promise.state is PromiseState.RESOLVED


def test_a_promoted_ledger_owes_nothing_to_the_listeners_of_a_pending_promise(
    ledger: Ledger,
) -> None:
    apply(ledger, external("a"), listener("a"))
    assert unblocks(ledger.promote(NOW)) == []


def test_confirmed_and_notified_twice_is_harmless(ledger: Ledger) -> None:
    serial = apply(ledger, call("a")).executes[0].serial
    apply(ledger, external("b"), listener("b", "l1"), settle("b"))
    for _ in range(2):
        ledger.apply(Batch(confirmed=[serial, 999], notified=[("b", "l1"), ("x", "l9")]), NOW)
    assert ledger.promote(NOW) == Backlog((), (), now=NOW)


@pytest.mark.parametrize("ending", [acquire("a"), settle("a")], ids=lambda request: request.kind)
def test_a_task_that_leaves_pending_voids_its_offer(ledger: Ledger, ending: Request) -> None:
    apply(ledger, call("a"))
    apply(ledger, ending)
    assert executes(ledger.promote(NOW)) == []


def test_a_task_offered_again_has_one_offer_and_a_later_serial(ledger: Ledger) -> None:
    first = apply(ledger, call("a")).executes[0]
    second = apply(ledger, acquire("a"), release("a")).executes[0]
    assert second.serial > first.serial
    assert [execute.serial for execute in ledger.promote(NOW).executes] == [second.serial]


def test_a_confirmation_of_an_older_offer_keeps_the_newer_one(ledger: Ledger) -> None:
    first = apply(ledger, call("a")).executes[0]
    apply(ledger, acquire("a"), release("a"))
    ledger.apply(Batch(confirmed=[first.serial]), NOW)
    assert executes(ledger.promote(NOW)) == [("a", 1)]


def test_serials_rise_over_promotions(ledger: Ledger) -> None:
    first = apply(ledger, call("a")).executes[0].serial
    ledger.promote(NOW)
    assert apply(ledger, call("b")).executes[0].serial > first


def test_a_restart_releases_every_lease_and_offers_every_pending_task(ledger: Ledger) -> None:
    apply(ledger, call("a"), acquire("a"), call("b"), external("x"))
    apply(ledger, call("c"), acquire("c"), suspend("c", "x"), call("d", delay="5000"))
    assert executes(ledger.restart(NOW)) == [("a", 1), ("b", 0)]
    assert executes(ledger.promote(NOW)) == [("a", 1), ("b", 0)]


def test_a_restart_leaves_every_other_record_as_it_is(ledger: Ledger) -> None:
    apply(ledger, call("c", 2_000), external("x"), acquire("c"), suspend("c", "x"))
    outcome = ledger.restart(3_000)
    assert (outcome.executes, outcome.unblocks, outcome.timers) == ((), (), ())
    assert [timer.id for timer in ledger.due_before(3_000, 10)] == ["c"]


def test_what_is_due_comes_earliest_first(ledger: Ledger) -> None:
    apply(ledger, call("a", 4_000), call("b", 3_000, delay="2000"), call("c"), acquire("c"))
    assert ledger.due_before(5_000, 10) == [
        Timer(NOW + TTL, TimerKind.LEASE, "c"),
        Timer(2_000, TimerKind.RETRY, "b"),
        Timer(3_000, TimerKind.DEADLINE, "b"),
        Timer(4_000, TimerKind.DEADLINE, "a"),
    ]


def test_what_is_due_ends_before_the_horizon_and_at_the_limit(ledger: Ledger) -> None:
    apply(ledger, external("a", 4_000), external("b", 3_000), external("c", 5_000))
    assert [timer.id for timer in ledger.due_before(4_000, 10)] == ["b"]
    assert [timer.id for timer in ledger.due_before(9_000, 2)] == ["b", "a"]


def test_what_is_due_counts_no_internal_promise(ledger: Ledger) -> None:
    apply(ledger, internal("a", 2_000), internal("b", 3_000), external("c", 4_000))
    assert [timer.id for timer in ledger.due_before(9_000, 1)] == ["c"]


def test_a_refreshed_lease_is_due_at_its_new_instant(ledger: Ledger) -> None:
    apply(ledger, call("a"), acquire("a"))
    apply(ledger, heartbeat("a"), clock=NOW + 100)
    assert ledger.due_before(DEADLINE, 10) == [Timer(NOW + 100 + TTL, TimerKind.LEASE, "a")]


def test_a_tree_holds_the_promises_of_its_origin_oldest_first(ledger: Ledger) -> None:
    apply(ledger, call("a"), acquire("a"), external("ab"))
    apply(ledger, fence("a", call("a:2")), clock=NOW + 1)
    apply(ledger, fence("a", internal("a:1")), clock=NOW + 2)
    tree = ledger.tree("a", 10)
    assert [promise.id for promise, _ in tree] == ["a", "a:2", "a:1"]
    states = [task.state if task is not None else None for _, task in tree]
    assert states == [TaskState.ACQUIRED, TaskState.PENDING, None]
    assert [promise.id for promise, _ in ledger.tree("a", 2)] == ["a", "a:2"]


def test_a_tree_shows_a_promise_past_its_deadline_as_settled(ledger: Ledger) -> None:
    apply(ledger, call("a", 2_000))
    apply(ledger, external("b"), clock=3_000)
    [(promise, task)] = ledger.tree("a", 10)
    assert promise.state is PromiseState.REJECTED_TIMEDOUT
    assert task is not None
    assert task.state is TaskState.FULFILLED


def test_a_tree_of_nothing_is_empty(ledger: Ledger) -> None:
    assert ledger.tree("a", 10) == []


def test_every_field_of_a_record_is_kept(ledger: Ledger) -> None:
    value = Value({"error": "ValueError", "ключ": "ü"}, "MQ==")
    action = replace(call("a", scope="global"), param=value)
    tagged = replace(action, tags={**action.tags, "color": "rot", "size": ""})
    apply(ledger, tagged, acquire("a", redeliveries=3))
    [settled] = answers(ledger, replace(settle("a"), value=value))
    ledger.promote(NOW)
    [kept] = answers(ledger, TaskGet(id="a"))
    assert kept.promise == settled.promise
    assert kept.promise is not None
    assert (kept.promise.param, kept.promise.value, kept.promise.tags) == (
        value,
        value,
        tagged.tags,
    )


def test_the_longest_names_and_texts_that_are_accepted_can_be_kept(ledger: Ledger) -> None:
    """Of characters that no compression makes fewer: an index takes no row beyond its size."""
    random = Random(1)
    longest = "".join(chr(random.randrange(0x21, 0x7F)) for _ in range(MAX_TEXT))
    promise_id = longest[:MAX_ID].replace(":", "-")
    plain = call(promise_id)
    action = replace(
        plain,
        tags={**plain.tags, longest[:MAX_KEY]: longest},
        param=Value({"func": longest, "version": longest}, ""),
    )
    apply(ledger, action, listener(promise_id, longest[:MAX_ID]))
    ledger.promote(NOW)
    [kept] = answers(ledger, PromiseGet(id=promise_id))
    assert kept.promise is not None
    assert kept.promise.tags == action.tags


def test_a_trial_changes_nothing(ledger: Ledger) -> None:
    apply(ledger, call("a"))
    ledger.trial()
    assert [one.status for one in answers(ledger, acquire("a"))] == [200]


def state(ledger: Ledger) -> list[tuple[Promise | None, object]]:
    ids = ("a", "a:1", "x", "c")
    return [(one.promise, one.task) for one in answers(ledger, *(TaskGet(id=i) for i in ids))]


def test_a_reopened_file_holds_the_same_state(opened: Open) -> None:
    first = opened()
    first.promote(NOW)
    apply(first, call("a"), acquire("a"), external("x"), listener("x"))
    apply(first, fence("a", call("a:1")), call("c"), acquire("c"), suspend("c", "x"))
    before = state(first)
    first.close()
    again = opened()
    again.promote(NOW)
    assert state(again) == before
    assert executes(apply(again, settle("x"))) == [("c", 1)]


def test_a_ledger_is_superseded_by_the_next_one_that_is_promoted(opened: Open) -> None:
    first, second = opened(), opened()
    first.promote(NOW)
    apply(first, call("a"))
    second.promote(NOW)
    with pytest.raises(Superseded):
        apply(first, settle("a"))
    with pytest.raises(Superseded):
        first.restart(NOW)
    assert answers(second, PromiseGet(id="a"))[0].promise is not None


def test_a_superseded_ledger_that_is_promoted_sees_what_its_rival_wrote(opened: Open) -> None:
    first, second = opened(), opened()
    first.promote(NOW)
    apply(first, call("a"))
    second.promote(NOW)
    apply(second, settle("a"))
    first.promote(NOW)
    [seen] = answers(first, PromiseGet(id="a"))
    assert seen.promise is not None
    assert seen.promise.state is PromiseState.RESOLVED
    with pytest.raises(Superseded):
        apply(second, settle("a"))


def test_a_ledger_that_was_never_promoted_writes_nothing(opened: Open) -> None:
    ledger = opened()
    with pytest.raises(Superseded):
        apply(ledger, call("a"))
