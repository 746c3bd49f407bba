"""Records: what one task's body has asked for, what is known of it, and what is still wanted."""

from __future__ import annotations

import logging
from typing import Any

from resonate_amqp.core.model import SCOPE, Promise, PromiseState
from resonate_amqp.core.requests import PromiseCreate, PromiseSettle
from resonate_amqp.errors import ResonateError
from resonate_amqp.runtime.children import Family, create_of, difference, now_a_branch
from resonate_amqp.runtime.commands import Command, Invoke, Mode
from resonate_amqp.runtime.context import Context
from resonate_amqp.runtime.frames import Frame, Wait
from resonate_amqp.runtime.outcomes import verdict_of
from resonate_amqp.runtime.wants import Await, Finish, Halt, Want

log = logging.getLogger(__name__)

Outcome = tuple[Any, BaseException | None]


class Records:
    """The children of one task. After `ended` nothing more is wanted."""

    def __init__(self, root: Promise, family: Family) -> None:
        self.ended = False
        self.awaited: set[str] = set()
        self.wants: list[Want] = []
        self._root = root
        self._family = family
        self._asked: dict[str, PromiseCreate] = {}
        self._settled: dict[str, Promise] = {}
        self._refused: dict[str, ResonateError] = {}

    def __contains__(self, promise_id: str) -> bool:
        """Whether a promise is known to be settled."""
        return promise_id in self._settled

    def take(self) -> list[Want]:
        wants, self.wants = self.wants, []
        return wants

    def add(self, promise: Promise) -> None:
        """A child is settled."""
        self._settled[promise.id] = promise
        self.awaited.discard(promise.id)

    def refuse(self, promise_id: str, error: ResonateError) -> None:
        """The ledger does not record this promise: whoever awaits it gets the error."""
        self._refused[promise_id] = error
        self.awaited.discard(promise_id)

    def of_this_task(self, promise_id: str) -> bool:
        return promise_id in self._asked or promise_id in self._settled

    def asked(self, promise_id: str) -> PromiseCreate:
        """The request that records a child."""
        return self._asked[promise_id]

    def timeout_at(self, promise_id: str) -> int:
        """The deadline of a child or of the task itself."""
        root = promise_id == self._root.id
        return self._root.timeout_at if root else self._asked[promise_id].timeout_at

    def create(
        self, frame: Frame, command: Command, now: int, *, record: bool = True
    ) -> PromiseCreate:
        """What a command is recorded as, compared with what was; wanted unless told not to."""
        command.issued = True
        create = create_of(self._family, frame.id, frame.timeout_at, command, now)
        self._asked[create.id] = create
        known = self._settled.get(create.id)
        if known is not None:
            frame.context.ahead = max(0, frame.context.ahead - 1)
            self.differs(known)
            return create
        frame.context.ahead = 0
        if record:
            self.wants.append(create)
        if not (isinstance(command, Invoke) and command.mode is Mode.DETACHED):
            frame.attached[create.id] = None
        return create

    def create_unissued(self, context: Context, verdict: PromiseSettle, now: int) -> PromiseSettle:
        """Create what was built and never yielded; what cannot be created fails the body."""
        for command in context.unissued():
            if not isinstance(command, Invoke) or command.local:
                log.warning(
                    "%s built %s and never yielded it: nothing was done", context.id, command.id
                )
                continue
            command.mode = Mode.DETACHED
            try:
                self.wants.append(create_of(self._family, context.id, 0, command, now))
            except Exception as error:  # what cannot be recorded is the outcome
                return verdict_of(verdict.id, None, error)
            log.debug("%s dispatched %s, which it never yielded", context.id, command.id)
        return verdict

    def listen(self, promise_id: str) -> None:
        """Have an outcome heard of; that of a local step is brought by who runs it."""
        local = self._asked[promise_id].tags.get(SCOPE) == "local"
        if not local and promise_id not in self.awaited:
            self.awaited.add(promise_id)
            self.wants.append(Await(promise_id))

    def missing(self, frame: Frame, wait: Wait) -> list[str]:
        """The promises of an await that have no outcome yet; they are to be heard of."""
        missing = []
        for promise_id in wait.ids:
            if self.has_outcome(promise_id):
                frame.attached.pop(promise_id, None)
            else:
                missing.append(promise_id)
                self.listen(promise_id)
        return missing

    def has_outcome(self, promise_id: str) -> bool:
        return promise_id in self._settled or promise_id in self._refused

    def complete(self, wait: Wait) -> bool:
        """Whether everything an await waits for has its outcome."""
        return all(map(self.has_outcome, wait.ids))

    def result(self, wait: Wait) -> Outcome:
        """What a complete await comes to."""
        if wait.gather is None:
            return self._outcome(wait.places[0])
        outcomes = [self._outcome(place) for place in wait.places]
        failures = [error for _, error in outcomes if error is not None]
        if failures and not wait.gather.return_exceptions:
            return None, failures[0]
        return [value if error is None else error for value, error in outcomes], None

    def settled_at(self, wait: Wait) -> int:
        """When the last of an await's promises was settled; 0 if none was."""
        settled = map(self._settled.get, wait.ids)
        return max((one.settled_at or 0 for one in settled if one is not None), default=0)

    def tell_unheard(self, parent_id: str, promise_id: str) -> None:
        """Log how a child ended that its parent started and never awaited, if it failed."""
        promise, error = self._settled.get(promise_id), self._refused.get(promise_id)
        if error is not None:
            log.warning("%s ended without awaiting %s: %s", parent_id, promise_id, error)
        elif promise is not None and promise.state is not PromiseState.RESOLVED:
            log.warning(
                "%s ended without awaiting %s, which was %s", parent_id, promise_id, promise.state
            )

    def differs(self, recorded: Promise) -> bool:
        """Whether a record is another than what the body asked for; then the task halts."""
        asked = self._asked.get(recorded.id)
        found = difference(recorded, asked) if asked is not None else ""
        if found:
            self.halt(found)
        return bool(found)

    def branches(self, numbers: tuple[str, ...]) -> bool:
        """Whether new asyncio branches may have these numbers; else the task halts."""
        for number in numbers:
            if number in self._settled:
                self.halt(now_a_branch(self._settled[number]))
        return not self.ended

    def finish(self, settle: PromiseSettle) -> None:
        """The task has its outcome."""
        self.ended = True
        self.wants.append(Finish(settle))

    def halt(self, found: str) -> None:
        """The body does not do what its record says."""
        if not self.ended:
            self.ended = True
            self.wants.append(Halt(f"{self._root.id!r} is not deterministic: {found}"))

    def _outcome(self, place: str | Exception) -> Outcome:
        if isinstance(place, Exception):
            return None, place
        error = self._refused.get(place)
        return (None, error) if error is not None else self._family.outcome(self._settled[place])
