"""Waits: when what a body awaits is over, and what it came to. Pure, by the records alone.

An await is judged by the instants at which the ledger settled what it waits for, and only once
nothing that could still change the judgement is open; so it is judged on replay as it was live.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from resonate_amqp.core.model import Promise, PromiseState
from resonate_amqp.runtime.commands import Gather, Race, Winner
from resonate_amqp.runtime.frames import Wait

Outcome = tuple[Any, BaseException | None]


class Known(Protocol):
    """What is recorded of the promises that a body awaits."""

    def has_outcome(self, promise_id: str) -> bool: ...

    def settled(self, promise_id: str) -> Promise | None:
        """Its record once it is settled; None for one that could not be created, too."""
        ...

    def due_at(self, timer_id: str) -> int | None:
        """When a timer is due (epoch ms); None until the ledger has told."""
        ...

    def outcome(self, place: str | Exception) -> Outcome:
        """The value or the error of a promise that has its outcome."""
        ...


@dataclass(frozen=True, slots=True)
class Over:
    """An await is over: what the body is given, and when the last of it was settled."""

    value: Any
    error: BaseException | None
    at: int


@dataclass(frozen=True, slots=True)
class Cut:
    """What an await waits for in vain: it is over once these are canceled, or were settled."""

    promises: tuple[str, ...]


def judged(wait: Wait, known: Known) -> Over | Cut | None:
    """Whether an await is over, or would be if something were canceled; None while it goes on."""
    due = [at for at in map(known.due_at, wait.limits) if at is not None]
    if len(due) < len(wait.limits):
        return None
    still = tuple(place for place in wait.ids if not known.has_outcome(place))
    if still:
        first = isinstance(wait.of, Race) and len(still) < len(wait.places)
        passed = any(map(known.has_outcome, wait.limits))
        return Cut(still) if first or passed else None
    over = _race(wait, known) if isinstance(wait.of, Race) else _all(wait, known)
    if due and over.at >= min(due):
        limit = wait.limits[due.index(min(due))]
        return Over(*known.outcome(limit), at=over.at)
    return over


def _all(wait: Wait, known: Known) -> Over:
    """What is awaited together is over with the last of it."""
    at = max((_settled_at(place, known) for place in wait.places), default=0)
    outcomes = [known.outcome(place) for place in wait.places]
    if not isinstance(wait.of, Gather):
        return Over(*outcomes[0], at=at)
    failures = [error for _, error in outcomes if error is not None]
    if failures and not wait.of.return_exceptions:
        return Over(None, failures[0], at)
    return Over([value if error is None else error for value, error in outcomes], None, at)


def _race(wait: Wait, known: Known) -> Over:
    """A race is won by what was settled first; of one instant, by what was not canceled."""
    first = min(range(len(wait.places)), key=lambda position: _rank(wait.places, position, known))
    value, error = known.outcome(wait.places[first])
    at = _settled_at(wait.places[first], known)
    return Over(None if error is not None else Winner(first, value), error, at)


def _rank(places: Sequence[str | Exception], position: int, known: Known) -> tuple[int, bool, int]:
    place = places[position]
    promise = known.settled(place) if isinstance(place, str) else None
    canceled = promise is not None and promise.state is PromiseState.REJECTED_CANCELED
    return _settled_at(place, known), canceled, position


def _settled_at(place: str | Exception, known: Known) -> int:
    """When a promise was settled; what could not be created was never anything but over."""
    promise = known.settled(place) if isinstance(place, str) else None
    return 0 if promise is None else promise.settled_at or 0
