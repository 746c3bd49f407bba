"""Every invariant holds of a good state and is named when the state or transition breaks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from resonate_amqp.core.invariants import State, check_state, check_step
from resonate_amqp.core.invariants.schedules import OF_SCHEDULE, OF_SCHEDULE_STEP
from resonate_amqp.core.invariants.state import OF_PROMISE, OF_STORE, OF_TASK
from resonate_amqp.core.invariants.step import (
    OF_COUPLING,
    OF_PROMISE_STEP,
    OF_TASK_STEP,
    OUTBOX_ROW_KEPT,
)
from resonate_amqp.core.model import EMPTY, TARGET, TIMER, Offer, PromiseState, TaskState, Value
from resonate_amqp.core.requests import Request, TaskHalt, TaskRedrive
from tests.core.world import (
    DEADLINE,
    NOW,
    TARGET_A,
    World,
    acquire,
    call,
    callback,
    external,
    fulfill,
    heartbeat,
    internal,
    lease,
    listener,
    redelivery,
    release,
    scheduled,
    settle,
    suspend,
    timer,
)

Change = Callable[[State], State]


def good() -> World:
    """A world with a task in every state: `a`cquired, `s`uspended on x, `p`ending, `h`alted.

    `w` was resumed, and then halted.
    """
    world = World()
    world.run(external("x"), internal("i"), timer("soon", NOW), call("late", NOW))
    world.run(call("a"), acquire("a"), call("s"), acquire("s"), suspend("s", "x"))
    world.run(call("p"), call("later", delay="5000"), call("h"), TaskHalt(id="h"))
    world.run(listener("x"), external("done"), listener("done"), settle("done"))
    world.run(call("f"), settle("f"), external("a:1", branch="a"), scheduled("n"))
    world.run(external("z"), call("w"), acquire("w"), suspend("w", "z"), settle("z"))
    world.run(TaskHalt(id="w"))
    return world


def promise(promise_id: str, **fields: Any) -> Change:
    def change(state: State) -> State:
        changed = replace(state.promises[promise_id], **fields)
        return replace(state, promises={**state.promises, promise_id: changed})

    return change


def task(task_id: str, **fields: Any) -> Change:
    def change(state: State) -> State:
        changed = replace(state.tasks[task_id], **fields)
        return replace(state, tasks={**state.tasks, task_id: changed})

    return change


def schedule(**fields: Any) -> Change:
    return lambda state: replace(state, schedules={"n": replace(state.schedules["n"], **fields)})


def row(task_id: str, version: int = 0, target: str = TARGET_A, serial: int = 99) -> Change:
    offer = Offer(serial, task_id, version, target)
    return lambda state: replace(state, offers={**state.offers, serial: offer})


def no_rows(state: State) -> State:
    return replace(state, offers={})


def without_task(task_id: str) -> Change:
    return lambda state: replace(
        state, tasks={known: task for known, task in state.tasks.items() if known != task_id}
    )


def without_promise(promise_id: str) -> Change:
    return lambda state: replace(
        state, promises={key: one for key, one in state.promises.items() if key != promise_id}
    )


def both(*changes: Change) -> Change:
    def change(state: State) -> State:
        for each in changes:
            state = each(state)
        return state

    return change


RESOLVED = PromiseState.RESOLVED
TIMEDOUT = PromiseState.REJECTED_TIMEDOUT
VALUE = Value({}, "MQ==")
SETTLED = {"state": RESOLVED, "settled_at": NOW}

STATES: dict[str, tuple[str, Change]] = {
    "well_formed_promise_created_at_lte_timeout_at": ("x", promise("x", created_at=DEADLINE + 1)),
    "well_formed_promise_pending_created_before_deadline": (
        "x",
        promise("x", created_at=DEADLINE),
    ),
    "well_formed_promise_settled_at_lte_timeout_at": (
        "done",
        promise("done", settled_at=DEADLINE + 1),
    ),
    "well_formed_promise_created_at_lte_settled_at": ("done", promise("done", settled_at=NOW - 1)),
    "well_formed_promise_settled_at_iff_not_pending": ("x", promise("x", settled_at=NOW)),
    "well_formed_promise_pending_has_no_value": ("x", promise("x", value=VALUE)),
    "well_formed_promise_deadline_verdict_matches_timer_tag": (
        "soon",
        promise("soon", state=TIMEDOUT),
    ),
    "well_formed_promise_deadline_settlement_has_no_value": ("late", promise("late", value=VALUE)),
    "well_formed_promise_timer_not_targeted": (
        "a",
        promise("a", tags={TIMER: "true", TARGET: "t"}),
    ),
    "well_formed_promise_timedout_is_server_owned": ("done", promise("done", state=TIMEDOUT)),
    "well_formed_promise_callbacks_unique": ("x", promise("x", callbacks=("s", "s"))),
    "well_formed_promise_listeners_unique": ("x", promise("x", listeners=("l", "l"))),
    "well_formed_promise_obligations_require_external": ("i", promise("i", listeners=("l",))),
    "well_formed_promise_awaiter_is_not_self": ("a", promise("a", callbacks=("a",))),
    "well_formed_promise_settled_has_no_callbacks": ("done", promise("done", callbacks=("a",))),
    "well_formed_promise_deadline_settles_for_no_group": ("late", promise("late", settled_by="g")),
    "well_formed_task_acquired_iff_has_pid": ("a", task("a", pid=None)),
    "well_formed_task_acquired_iff_has_ttl": ("p", task("p", ttl=5)),
    "well_formed_task_acquired_iff_has_expires_at": ("a", task("a", expires_at=None)),
    "well_formed_task_pending_iff_has_retry_at": ("p", task("p", retry_at=None)),
    "well_formed_task_fulfilled_is_cleared": ("f", task("f", resumes=("x",))),
    "well_formed_task_suspended_is_cleared": ("s", task("s", ttl=5)),
    "well_formed_task_halted_is_cleared": ("h", task("h", retry_at=NOW)),
    "well_formed_task_suspended_has_no_resumes": ("s", task("s", resumes=("x",))),
    "well_formed_task_resumes_unique": ("a", task("a", resumes=("x", "x"))),
    "well_formed_task_acquired_version_positive": ("a", task("a", version=0)),
    "well_formed_task_acquired_iff_has_holder": ("p", task("p", holder="h1")),
    "well_formed_task_ticket_requires_lease": ("p", task("p", ticket="t1")),
    "well_formed_task_offered_only_while_pending": ("h", task("h", offered=True)),
    "well_formed_task_holder_is_last_holder": ("a", task("a", last_holder="h9")),
    "well_formed_task_last_version_not_ahead": ("p", task("p", last_version=1)),
    "consistent_task_iff_targeted_promise": ("p", without_task("p")),
    "consistent_settled_promise_has_fulfilled_task": ("a", promise("a", **SETTLED)),
    "consistent_settled_task_promise_settled": ("p", task("p", state=TaskState.FULFILLED)),
    "consistent_callback_awaiter_is_targeted": ("i", promise("x", callbacks=("i", "s"))),
    "consistent_suspended_task_holds_rung": ("s", promise("x", callbacks=())),
    "consistent_outbox_execute_names_existing_task": ("nobody", row("nobody")),
    "consistent_outbox_never_ahead": ("p", row("p", version=1)),
    "consistent_outbox_execute_address_is_target_tag": ("p", row("p", target="poll://any@b")),
    "well_formed_store_outbox_keys_unique": ("p", row("p")),
    "consistent_outbox_execute_only_for_offered_task": ("a", row("a", version=1)),
    "well_formed_schedule_promise_tags_not_timer_targeted": ("n", schedule(tags={TIMER: "true"})),
    "well_formed_schedule_has_target": ("n", schedule(tags={})),
    "well_formed_schedule_created_at_lte_next_run_at": ("n", schedule(next_at=NOW - 1)),
    "well_formed_schedule_created_at_lte_last_run_at": ("n", schedule(last_at=NOW - 1)),
    "well_formed_schedule_last_run_at_lt_next_run_at": ("n", schedule(last_at=5_000)),
}


def test_everything_holds_of_a_good_state() -> None:
    state = good().state()
    assert check_state(state.promises, state.tasks, state.offers, state.schedules) == []


@pytest.mark.parametrize("name", STATES)
def test_a_broken_state_is_named(name: str) -> None:
    culprit, change = STATES[name]
    state = change(good().state())
    found = check_state(state.promises, state.tasks, state.offers, state.schedules)
    assert f"{name}: {culprit}" in found


def test_every_property_of_states_has_been_seen_broken() -> None:
    assert set(STATES) == set(OF_PROMISE) | set(OF_TASK) | set(OF_STORE) | set(OF_SCHEDULE)


@pytest.mark.parametrize(
    "row_change", [row("later"), row("h"), row("s", 1), row("f")], ids=["delayed", "h", "s", "f"]
)
def test_only_a_task_that_is_pending_and_offered_may_have_an_outbox_row(row_change: Change) -> None:
    state = row_change(good().state())
    violations = check_state(state.promises, state.tasks, state.offers)
    assert [one.partition(":")[0] for one in violations] == [
        "consistent_outbox_execute_only_for_offered_task"
    ]


LEASED = {"pid": "p", "ttl": 5, "expires_at": NOW + 5, "holder": "h9", "last_holder": "h9"}
"""Fields of a lease acquired now."""

STEPS: dict[str, tuple[str, Request, Change]] = {
    "preserved_promise_birth_fields_immutable": ("x", settle("x"), promise("x", param=VALUE)),
    "preserved_settled_promise_record": ("done", settle("x"), promise("done", settled_by="g2")),
    "consistent_promise_settlement_stamp": ("x", settle("x"), promise("x", settled_at=NOW - 1)),
    "consistent_new_promise_born_clean": ("n", external("n"), promise("n", listeners=("l",))),
    "consistent_obligation_discharge_requires_settled": (
        "x",
        external("n"),
        promise("x", callbacks=()),
    ),
    "consistent_listener_consumption_enqueues_unblock": (
        "x",
        settle("x"),
        promise("x", listeners=()),
    ),
    "monotone_promise_listeners_shrink_once_settled": (
        "done",
        settle("x"),
        promise("done", listeners=("l2", "l3")),
    ),
    "monotone_task_version_increases_only_on_acquisition": (
        "a",
        release("a"),
        task("a", version=2),
    ),
    "preserved_fulfilled_task": ("f", settle("x"), task("f", acquired_at=7)),
    "consistent_task_state_edge_admissible": (
        "s",
        external("n"),
        task("s", state=TaskState.ACQUIRED),
    ),
    "preserved_task_acquisition_only_from_pending": (
        "s",
        external("n"),
        task("s", state=TaskState.ACQUIRED, version=2, last_version=2, **LEASED),
    ),
    "preserved_task_suspension_only_from_acquired": (
        "p",
        callback("x", "p"),
        task("p", state=TaskState.SUSPENDED, retry_at=None, offered=False),
    ),
    "consistent_task_birth_state": ("n", call("n"), task("n", state=TaskState.HALTED)),
    "consistent_task_lease_released_atomically": ("a", release("a"), task("a", ttl=5)),
    "preserved_task_lease_holder_stable": ("a", external("n"), task("a", pid="p9")),
    "consistent_task_lease_moved_whole": ("a", lease("a"), task("a", ticket="t1")),
    "consistent_task_acquisition_is_atomic": ("p", acquire("p"), task("p", resumes=("x",))),
    "consistent_task_lease_deadline_is_now_plus_ttl": (
        "p",
        acquire("p"),
        task("p", expires_at=NOW),
    ),
    "consistent_task_pending_entry_arms_retry": ("a", release("a"), task("a", retry_at=NOW - 1)),
    "consistent_task_wake_records_resume": ("s", settle("x"), task("s", resumes=())),
    "preserved_task_resumes_until_acquired": ("w", external("n"), task("w", resumes=())),
    "monotone_promise_set_grows": ("i", external("n"), without_promise("i")),
    "monotone_task_set_grows": ("p", external("n"), without_task("p")),
    "consistent_task_birth_couples_promise_birth": (
        "i",
        call("n"),
        lambda state: replace(state, tasks={**state.tasks, "i": state.tasks["n"]}),
    ),
    "consistent_settlement_fulfils_task": (
        "a",
        fulfill("a"),
        task("a", state=TaskState.ACQUIRED, **LEASED),
    ),
    "consistent_task_fulfilment_needs_settlement": (
        "a",
        fulfill("a"),
        promise("a", state=PromiseState.PENDING, settled_at=None, value=EMPTY),
    ),
    "consistent_callback_consumption_resumes_awaiter": (
        "s",
        settle("x"),
        task("s", resumes=("i",)),
    ),
    "consistent_wake_follows_callback_consumption": (
        "s",
        external("n"),
        task("s", state=TaskState.PENDING, retry_at=NOW, resumes=("x",)),
    ),
    "consistent_suspension_registers_callback": (
        "a",
        suspend("a", "x"),
        promise("x", callbacks=("s",)),
    ),
    "preserved_execute_only_for_live_task": ("p", external("n"), promise("p", timeout_at=NOW)),
    "preserved_no_dead_dispatch": ("a", release("a"), promise("a", timeout_at=NOW)),
    "consistent_offer_writes_outbox_row": ("a", release("a"), no_rows),
    "consistent_outbox_row_repeat_iff_offered_before": ("p", TaskRedrive(id="p"), row("p")),
    "consistent_cancellation_reaches_attached_children": (
        "a:1",
        settle("a", PromiseState.REJECTED_CANCELED),
        promise("a:1", state=PromiseState.PENDING, settled_at=None, settled_by=""),
    ),
    "preserved_schedule_created_at": ("n", external("y"), schedule(created_at=NOW + 1)),
    "monotone_schedule_last_run_at": ("n", external("y"), schedule(last_at=NOW + 1)),
    "consistent_schedule_passes_no_tick_unfired": ("n", external("y"), schedule(next_at=10_000)),
    "consistent_schedule_tick_has_its_call": ("n", external("y"), schedule(last_at=NOW)),
}


def step(request: Request, change: Change) -> list[str]:
    """The violations of a good transition whose result was changed."""
    world = good()
    before = world.state()
    assert world.ask(request).ok
    return check_step(before, change(world.state()), NOW)


@pytest.mark.parametrize("name", STEPS)
def test_a_broken_transition_is_named(name: str) -> None:
    culprit, request, change = STEPS[name]
    if name == "preserved_execute_only_for_live_task":
        change = both(change, row("p"))
    assert f"{name}: {culprit}" in step(request, change)


@pytest.mark.parametrize("fields", [{"ticket": "t2"}, {"ttl": 9}, {"redeliveries": 1}])
def test_a_lease_that_changes_otherwise_than_by_its_move_is_named(fields: dict[str, Any]) -> None:
    found = step(lease("a"), task("a", **fields))
    assert "consistent_task_lease_moved_whole: a" in found


@pytest.mark.parametrize("request_", [lease("a"), heartbeat("a")], ids=lambda one: one.kind)
def test_a_lease_that_is_moved_or_refreshed_is_in_order(request_: Request) -> None:
    assert step(request_, lambda state: state) == []


def test_a_first_row_that_is_marked_as_a_repetition_is_named() -> None:
    def repeated(state: State) -> State:
        rows = {
            serial: replace(row, repeat=row.task_id == "a") for serial, row in state.offers.items()
        }
        return replace(state, offers=rows)

    assert step(release("a"), repeated) == ["consistent_outbox_row_repeat_iff_offered_before: a"]


def test_every_property_of_transitions_has_been_seen_broken() -> None:
    known = (OF_PROMISE_STEP, OF_TASK_STEP, OF_COUPLING, OF_SCHEDULE_STEP)
    assert set(STEPS) == {name for properties in known for name in properties}


def test_a_takeover_is_a_release_and_an_acquisition_in_one() -> None:
    assert step(redelivery("a"), lambda state: state) == []


@pytest.mark.parametrize("fields", [{"ticket": "t9"}, {"version": 3}, {"version": 1}])
def test_a_takeover_under_another_ticket_or_at_another_version_is_named(
    fields: dict[str, Any],
) -> None:
    assert step(redelivery("a"), task("a", **fields))


def test_a_confirmed_outbox_row_may_go() -> None:
    state = good().state()
    assert check_step(state, no_rows(state), NOW, list(state.offers)) == []


def test_an_outbox_row_that_goes_unconfirmed_is_named() -> None:
    state = good().state()
    assert check_step(state, no_rows(state), NOW, ()) == [f"{OUTBOX_ROW_KEPT}: p"]


def test_whether_a_row_was_confirmed_need_not_be_known() -> None:
    state = good().state()
    assert check_step(state, no_rows(state), NOW) == []
