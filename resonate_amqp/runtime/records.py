"""Records: what one task's body has asked for, what is known of it, and what is still wanted."""

from __future__ import annotations

import logging

from resonate_amqp.core.model import DETACHED, SCOPE, Promise, PromiseState
from resonate_amqp.core.requests import PromiseCreate, PromiseSettle
from resonate_amqp.errors import ResonateError
from resonate_amqp.runtime.children import Family, check_kept, create_of, difference, now_a_branch
from resonate_amqp.runtime.commands import Command, Invoke, Mode, Timeout
from resonate_amqp.runtime.context import Context
from resonate_amqp.runtime.frames import Frame, Wait
from resonate_amqp.runtime.outcomes import verdict_of
from resonate_amqp.runtime.waits import Outcome
from resonate_amqp.runtime.wants import Await, Finish, Halt, Want

log = logging.getLogger(__name__)

WITHDRAWN = "withdrawn"
"""A header of the value of a promise that the body which awaited it canceled."""


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
        self._due_at: dict[str, int] = {}
        self._limits: dict[str, Timeout] = {}

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

    def running(self, promise: Promise) -> None:
        """A child is recorded and pending; of a timer, the ledger tells when it is due."""
        if promise.timer:
            self._due_at[promise.id] = promise.timeout_at

    def refuse(self, promise_id: str, error: ResonateError) -> None:
        """The ledger does not record this promise: whoever awaits it gets the error."""
        self._refused[promise_id] = error
        self.awaited.discard(promise_id)

    def of_this_task(self, promise_id: str) -> bool:
        return promise_id in self._asked or promise_id in self._settled

    def detached(self, promise_id: str) -> bool:
        """Whether a child outlives its parent."""
        one = self._asked.get(promise_id) or self._settled.get(promise_id)
        return one is not None and one.tags.get(DETACHED) == "true"

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
        check_kept(command, frame.id, frame.reached, frame.timeout_at)
        create = create_of(self._family, frame.id, frame.timeout_at, command, now)
        if isinstance(command, Timeout):
            self._limits[create.id] = command
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
        """The promises of an await that have no outcome yet; they are to be heard of.

        So are the timers that limit it.
        """
        missing = []
        for promise_id in (*wait.ids, *wait.limits):
            if self.has_outcome(promise_id):
                frame.attached.pop(promise_id, None)
            else:
                missing.append(promise_id)
                self.listen(promise_id)
        return missing

    def has_outcome(self, promise_id: str) -> bool:
        return promise_id in self._settled or promise_id in self._refused

    def settled(self, promise_id: str) -> Promise | None:
        return self._settled.get(promise_id)

    def withdrawn(self, promise_id: str) -> bool:
        """Whether a promise was canceled by the very body that had awaited it."""
        settled = self._settled.get(promise_id)
        return settled is not None and WITHDRAWN in settled.value.headers

    def due_at(self, timer_id: str) -> int | None:
        """When a timer is due; at once if it could not be created, so that its error is told."""
        if timer_id in self._refused:
            return 0
        settled = self._settled.get(timer_id)
        return settled.timeout_at if settled is not None else self._due_at.get(timer_id)

    def outcome(self, place: str | Exception) -> Outcome:
        """The value or the error of what has its outcome; a limit's is its error."""
        if isinstance(place, Exception):
            return None, place
        error = self._refused.get(place)
        if error is not None:
            return None, error
        value, failure = self._family.outcome(self._settled[place])
        if failure is None and place in self._limits:
            return None, self._limits[place].expired()
        return value, failure

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
