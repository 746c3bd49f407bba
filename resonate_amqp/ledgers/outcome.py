"""What an overlay's changes mean for the outside: messages to send and timers to watch."""

from __future__ import annotations

from resonate_amqp.core.batch import Execute, Outcome, Unblock
from resonate_amqp.core.effects import Overlay
from resonate_amqp.core.requests import Response
from resonate_amqp.core.timers import Timer, timers_of, timers_of_schedule


def outcome_of(
    state: Overlay, answers: tuple[tuple[Response, ...], ...], early: list[Timer], now: int
) -> Outcome:
    """The outcome of a batch whose changes were stored; `early` timers are to be watched again."""
    executes = []
    for offer in state.offers:
        promise = state.promise(offer.task_id)
        if promise is not None:
            executes.append(
                Execute(offer.serial, offer.target, promise, offer.version, offer.repeat)
            )
    unblocks = []
    for promise_id, address in state.unblocks:
        promise = state.promise(promise_id)
        if promise is not None:
            unblocks.append(Unblock(address, promise))
    timers = list(early)
    for promise in state.promises.values():
        timers.extend(timers_of(promise, None))
    for task in state.tasks.values():
        timers.extend(timers_of(None, task))
    for schedule in state.schedules.values():
        timers.extend(timers_of_schedule(schedule))
    return Outcome(
        now,
        answers,
        tuple(executes),
        tuple(unblocks),
        tuple(timers),
        frozenset(state.withdrawn),
        state.taken,
        tuple(promise for promise in map(state.promise, state.mirrors) if promise is not None),
    )
