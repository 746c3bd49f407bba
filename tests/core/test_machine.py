"""A walk of the machine: any requests, timers and repetitions, and all invariants hold."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from resonate_amqp.core.batch import Batch, Outcome
from resonate_amqp.core.effects import Limits
from resonate_amqp.core.invariants import State, check_state, check_step
from resonate_amqp.core.model import TaskState
from resonate_amqp.core.requests import (
    Group,
    Request,
    Response,
    TaskAcquire,
    Verdict,
)
from resonate_amqp.core.timers import Timer, TimerKind, timers_of, timers_of_schedule
from resonate_amqp.ledgers.memory import MemoryLedger
from tests.core.alphabet import IDS, Alphabet, T
from tests.core.world import (
    acquire,
    call,
    external,
    fence,
    fulfill,
    internal,
    release,
    settle,
    suspend,
)


class Machine(RuleBasedStateMachine):
    """One ledger; every transition is taken alone and compared with what it may do."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = MemoryLedger(Limits(max_deliveries=2))
        self.now = 1_000
        self.ledger.promote(self.now)
        self.groups: list[Group] = []
        self.armed: set[Timer] = set()
        self.claims: dict[tuple[str, int], str] = {}
        self.serial = 0

    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        def pick(options: Sequence[T]) -> T:
            return data.draw(st.sampled_from(options))

        group = Alphabet(pick, self.ledger.tasks, self.now).group()
        self.groups.append(group)
        self.run(group)

    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        if self.groups:
            self.run(data.draw(st.sampled_from(self.groups)))

    @rule(steps=st.sampled_from(["fulfill", "release", "suspend", "redirected", "none"]))
    def work(self, steps: str) -> None:
        """A worker's group, sent twice: the second time it is answered as the first."""
        self.serial += 1
        root, holder = f"w{self.serial}", f"w{self.serial}h"
        child = internal(f"{root}:2", self.now + 50)
        endings: dict[str, tuple[Request, ...]] = {
            "fulfill": (fulfill(root, 1, holder),),
            "release": (release(root, 1, holder),),
            "suspend": (suspend(root, f"{root}:1", holder=holder),),
            "redirected": (
                fence(root, settle(f"{root}:1"), 1, holder),
                suspend(root, f"{root}:1", holder=holder),
            ),
            "none": (),
        }
        taken = acquire(root, 0, holder, "tw")
        recorded = [fence(root, action, 1, holder) for action in (external(f"{root}:1"), child)]
        group = Group(
            id=root, steps=(call(root, self.now + 700), taken, *recorded, *endings[steps])
        )
        first = self.run(group)
        ended = self.state()
        again = self.run(group)
        assert [(one.status, one.applied) for one in again] == [
            (one.status, one.applied) for one in first
        ]
        assert self.state() == ended
        self.groups.append(group)

    @rule(ms=st.sampled_from([1, 50, 100, 150, 1_000, 5_000, -100]))
    def advance(self, ms: int) -> None:
        self.now += ms

    @rule(
        kind=st.sampled_from(TimerKind),
        promise_id=st.sampled_from(IDS),
        heard_for=st.sampled_from([0, 50, 100_000]),
    )
    def fire(self, kind: TimerKind, promise_id: str, heard_for: int) -> None:
        timer = Timer(self.now, kind, promise_id)
        self.apply(Batch(timers=(timer,), heard_since=self.now - heard_for))

    @rule()
    def fire_what_is_due(self) -> None:
        self.now = max(self.now, self.ledger.now)
        for timer in self.ledger.due_before(self.now + 1, 1_000):
            self.apply(Batch(timers=(timer,)))
        left = self.ledger.due_before(self.now + 1, 1_000)
        assert not left, "a timer that was due fired and is still due"

    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        if self.ledger.offers:
            self.apply(Batch(confirmed=[data.draw(st.sampled_from(sorted(self.ledger.offers)))]))

    @rule()
    def notify(self) -> None:
        for promise in list(self.ledger.promises.values()):
            for address in promise.listeners:
                self.apply(Batch(notified=[(promise.id, address)]))

    @rule()
    def promote(self) -> None:
        backlog = self.ledger.promote(self.now)
        assert {execute.serial for execute in backlog.executes} == set(self.ledger.offers)
        owed = {
            (promise.id, address)
            for promise in self.ledger.promises.values()
            if not promise.pending
            for address in promise.listeners
        }
        assert {(one.promise.id, one.address) for one in backlog.unblocks} == owed

    @invariant()
    def every_timer_that_is_needed_was_announced(self) -> None:
        for promise in self.ledger.promises.values():
            needed = timers_of(promise, self.ledger.tasks.get(promise.id))
            assert set(needed) <= self.armed
        for schedule in self.ledger.schedules.values():
            assert set(timers_of_schedule(schedule)) <= self.armed

    @invariant()
    def a_version_of_a_task_has_one_holder_ever(self) -> None:
        for task in self.ledger.tasks.values():
            if task.state is TaskState.ACQUIRED:
                claim = (task.id, task.version)
                assert self.claims.setdefault(claim, task.holder) == task.holder

    def run(self, group: Group) -> list[Response]:
        """Take a group step by step; taken as one it must come to the same."""
        whole = copy.deepcopy(self.ledger)
        answers = whole.apply(Batch(groups=(group,)), self.now).answers[0]
        responses: list[Response] = []
        for request in group.steps:
            one = Group(id=group.id, steps=(request,))
            before = self.state()
            responses.append(self.apply(Batch(groups=(one,))).answers[0][0])
            if isinstance(request, TaskAcquire):
                self.check_verdict(before, request, responses[-1])
            if not responses[-1].ok:
                break
        assert list(answers) == responses
        assert (whole.promises, whole.tasks) == (self.ledger.promises, self.ledger.tasks)
        assert whole.schedules == self.ledger.schedules
        rows = [(row.task_id, row.version) for row in whole.offers.values()]
        assert rows == [(row.task_id, row.version) for row in self.ledger.offers.values()]
        return responses

    def apply(self, batch: Batch) -> Outcome:
        before, earlier = self.state(), self.ledger.now
        outcome = self.ledger.apply(batch, self.now)
        after = self.state()
        assert outcome.now == max(earlier, self.now)
        violations = check_state(after.promises, after.tasks, after.offers, after.schedules)
        violations += check_step(before, after, outcome.now, batch.confirmed)
        assert not violations, violations
        fresh = {serial for serial in after.offers if serial not in before.offers}
        assert {execute.serial for execute in outcome.executes} == fresh
        owed = [
            (promise.id, address)
            for promise in before.promises.values()
            if promise.pending and not after.promises[promise.id].pending
            for address in promise.listeners
        ]
        assert sorted((one.promise.id, one.address) for one in outcome.unblocks) == sorted(owed)
        self.armed.update(outcome.timers)
        return outcome

    def check_verdict(self, before: State, request: TaskAcquire, response: Response) -> None:
        if response.ok or response.status == 400:
            assert response.verdict is None
            return
        task = before.tasks.get(request.id)
        promise = before.promises.get(request.id)
        alive = promise is not None and promise.at(self.ledger.now).pending
        own = task is not None and request.ticket != "" and task.ticket == request.ticket
        halted = response.task is not None and response.task.state is TaskState.HALTED
        returned = alive and own and not halted
        assert response.verdict is (Verdict.RETURN if returned else Verdict.ACK)

    def state(self) -> State:
        ledger = self.ledger
        return State(
            dict(ledger.promises),
            dict(ledger.tasks),
            dict(ledger.offers),
            dict(ledger.schedules),
        )


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
)
