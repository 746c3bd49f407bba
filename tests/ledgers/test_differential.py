"""The same requests to both ledgers: every answer and every record must be the same.

The memory ledger is the oracle. A run is a seeded walk over the adversarial alphabet, in batches
as the service makes them; from time to time the SQL ledger is opened anew, so that its records
are read back and not remembered.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from sqlalchemy import select

from resonate_amqp.core.batch import Backlog, Batch, Outcome
from resonate_amqp.core.effects import Limits
from resonate_amqp.core.invariants import State, check_state
from resonate_amqp.core.model import Offer, Promise
from resonate_amqp.core.requests import Group, Response
from resonate_amqp.core.timers import Timer, TimerKind
from resonate_amqp.ledgers import records
from resonate_amqp.ledgers.database import connect
from resonate_amqp.ledgers.memory import MemoryLedger
from resonate_amqp.ledgers.records import Records
from resonate_amqp.ledgers.schedules import timetable
from resonate_amqp.ledgers.sql import SqlLedger
from resonate_amqp.ledgers.tables import outbox, promises
from tests.core.alphabet import IDS, Alphabet

STEPS = 500
EPOCH = 50
"""Steps after which other ids are used, because most promises are settled by then."""

LIMITS = Limits(max_deliveries=2)


class Reader:
    """Reads a SQLite ledger back as a state, past everything the ledger remembers."""

    def __init__(self, url: str) -> None:
        self._connection = connect(url).execution_options(sqlite_begin="BEGIN")

    def state(self) -> State:
        with self._connection.begin():
            kept = timetable(self._connection, 0, 10_000)
            view = Records(self._connection)
            ids = self._connection.scalars(select(promises.c.id)).all()
            view.load(ids)
            rows = self._connection.execute(select(outbox)).mappings().all()
            offers = {
                row["serial"]: Offer(row["serial"], row["task_id"], row["version"], row["target"])
                for row in rows
            }
            found = {known: view.promise(known) for known in ids}
            tasks = {known: view.task(known) for known in ids}
        return State(
            {known: promise for known, promise in found.items() if promise is not None},
            {known: task for known, task in tasks.items() if task is not None},
            offers,
            {one.id: one for one in kept},
        )

    def close(self) -> None:
        self._connection.close()
        self._connection.engine.dispose()


class Pair:
    """A memory and a SQL ledger that are asked the same."""

    def __init__(self, url: str, seed: int) -> None:
        self.random = random.Random(seed)
        self.url = url
        self.memory = MemoryLedger(LIMITS)
        self.sql = SqlLedger(url, limits=LIMITS)
        self.reader = Reader(url)
        self.now = 1_000
        self.earlier: list[Group] = []
        self.ids: tuple[str, ...] = IDS
        self.steps = 0
        self.seen: Counter[tuple[str, int]] = Counter()
        self.promote()

    def close(self) -> None:
        self.sql.close()
        self.reader.close()

    def step(self) -> None:
        self.ids = tuple(f"{self.steps // EPOCH}{known}" for known in IDS)
        self.steps += 1
        self.now += self.random.choice((0, 0, 0, 1, 1, 50, 100, 1_000, -50))
        act = self.random.random()
        if act < 0.03:
            self.reopen()
        elif act < 0.05:
            self.compare(self.memory.restart(self.now), self.sql.restart(self.now))
        else:
            batch = self.batch()
            left, right = self.memory.apply(batch, self.now), self.sql.apply(batch, self.now)
            self.note(batch, left)
            self.compare(left, right)
        self.compare_queries()
        self.compare_states()

    def batch(self) -> Batch:
        pick = self.random.choice
        alphabet = Alphabet(pick, self.memory.tasks, self.now, self.ids)
        groups = [alphabet.group() for _ in range(pick((0, 1, 1, 2, 3)))]
        if self.earlier and self.random.random() < 0.3:
            groups.append(pick(self.earlier))
        self.earlier = (self.earlier + groups)[-20:]
        timers = self.memory.due_before(self.now + 1, 5) if pick((True, False)) else []
        if self.random.random() < 0.3:
            timers.append(Timer(self.now, pick(tuple(TimerKind)), pick(self.ids)))
        serials = sorted(self.memory.offers)
        owed = [(one.id, name) for one in self.memory.promises.values() for name in one.listeners]
        return Batch(
            groups=groups,
            timers=timers,
            confirmed=serials[: pick((0, 1, 2))],
            notified=owed[: pick((0, 1, 2))],
            heard_since=self.now - pick((0, 100, 10_000)),
        )

    def reopen(self) -> None:
        self.sql.close()
        self.sql = SqlLedger(self.url, limits=LIMITS)
        self.promote()

    def promote(self) -> None:
        left, right = self.memory.promote(self.now), self.sql.promote(self.now)
        assert owed(left) == owed(right)

    def compare(self, left: Outcome, right: Outcome) -> None:
        assert left.now == right.now
        assert [bare(group) for group in left.answers] == [bare(group) for group in right.answers]
        assert left.executes == right.executes
        assert left.unblocks == right.unblocks
        assert left.timers == right.timers

    def compare_queries(self) -> None:
        assert self.memory.timetable(3) == self.sql.timetable(3)
        horizon = self.now + 10_000
        assert self.memory.due_before(horizon, 1_000) == self.sql.due_before(horizon, 1_000)
        for origin in self.ids[::3]:
            left = [(public(one), task) for one, task in self.memory.tree(origin, 100)]
            assert left == [(public(one), task) for one, task in self.sql.tree(origin, 100)]

    def compare_states(self) -> None:
        state = self.reader.state()
        assert dict(state.promises) == self.memory.promises
        assert dict(state.tasks) == self.memory.tasks
        assert dict(state.offers) == self.memory.offers
        assert dict(state.schedules) == self.memory.schedules
        assert check_state(state.promises, state.tasks, state.offers, state.schedules) == []

    def note(self, batch: Batch, outcome: Outcome) -> None:
        for group, responses in zip(batch.groups, outcome.answers, strict=True):
            for request, response in zip(group.steps, responses, strict=False):
                self.seen[request.kind, response.status] += 1


def public(promise: Promise) -> Promise:
    """What others see of a promise: who awaits it is the ledger's own."""
    return replace(promise, callbacks=(), listeners=())


def bare(responses: tuple[Response, ...]) -> list[Response]:
    return [
        replace(response, preload=tuple(public(promise) for promise in response.preload))
        for response in responses
    ]


def owed(backlog: Backlog) -> tuple[object, ...]:
    executes = [replace(execute, promise=public(execute.promise)) for execute in backlog.executes]
    unblocks = [replace(unblock, promise=public(unblock.promise)) for unblock in backlog.unblocks]
    return (
        sorted(executes, key=lambda execute: execute.serial),
        sorted(unblocks, key=lambda unblock: (unblock.promise.id, unblock.address)),
    )


@pytest.fixture
def paired(url: str) -> Iterator[Callable[[int], Pair]]:
    pairs: list[Pair] = []

    def pair(seed: int) -> Pair:
        pairs.append(Pair(url, seed))
        return pairs[-1]

    yield pair
    for each in pairs:
        each.close()


@pytest.mark.parametrize("seed", range(4))
def test_both_ledgers_answer_and_keep_the_same(paired: Callable[[int], Pair], seed: int) -> None:
    pair = paired(seed)
    for _ in range(STEPS):
        pair.step()


def test_a_ledger_that_can_remember_next_to_nothing_answers_the_same(
    paired: Callable[[int], Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "KEPT", 2)
    monkeypatch.setattr(records, "SMALL", 3)
    pair = paired(99)
    for _ in range(STEPS):
        pair.step()


REACHED = {
    ("promise.create", 200),
    ("promise.create", 400),
    ("promise.create", 409),
    ("promise.settle", 200),
    ("promise.register_callback", 200),
    ("promise.register_callback", 422),
    ("promise.register_listener", 200),
    ("task.create", 200),
    ("task.create", 409),
    ("task.acquire", 200),
    ("task.acquire", 409),
    ("task.fence", 200),
    ("task.fence", 409),
    ("task.suspend", 200),
    ("task.suspend", 300),
    ("task.suspend", 409),
    ("task.fulfill", 200),
    ("task.release", 200),
    ("task.lease", 200),
    ("task.lease", 409),
    ("task.heartbeat", 200),
    ("task.halt", 200),
    ("task.halt", 409),
    ("task.continue", 200),
    ("task.redrive", 200),
    ("task.redrive", 409),
    ("schedule.create", 200),
    ("schedule.create", 400),
    ("schedule.get", 200),
    ("schedule.delete", 200),
    ("schedule.pause", 200),
    ("schedule.resume", 200),
    ("schedule.trigger", 200),
    ("schedule.trigger", 400),
    ("schedule.trigger", 404),
}


def test_the_walk_reaches_what_it_is_for(paired: Callable[[int], Pair]) -> None:
    pair = paired(7)
    for _ in range(4 * STEPS):
        pair.step()
        if set(pair.seen) >= REACHED:
            break
    assert REACHED - set(pair.seen) == set()
