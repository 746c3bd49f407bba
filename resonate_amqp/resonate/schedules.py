"""Schedules: calls made by the clock, as a program declares them and as an operator sees them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from resonate_amqp.core.model import Promise, Schedule
from resonate_amqp.core.timetable import (
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
    ScheduleRequest,
    ScheduleResume,
    ScheduleSearch,
    ScheduleTrigger,
)
from resonate_amqp.errors import Conflict, ResonateError, UsageError
from resonate_amqp.resonate.call import Calls, Func
from resonate_amqp.resonate.configured import Configured
from resonate_amqp.resonate.functions import Function
from resonate_amqp.resonate.node import Node
from resonate_amqp.runtime.handle import Handle
from resonate_amqp.runtime.retry import RetryPolicy
from resonate_amqp.wire.address import check_root_id, check_schedule_id
from resonate_amqp.wire.envelope import LEVEL, Reply

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

TOKEN_LENGTH = 15
TELL_AGAIN_MS = 60_000


class Schedules:
    """The schedules of the ledger, by id. Every method waits for the ledger's answer."""

    def __init__(
        self, node: Callable[[], Node], handle: Callable[[Node, Promise], Handle[Any]]
    ) -> None:
        self._node = node
        self._handle = handle

    def get(self, schedule_id: str) -> Schedule:
        """The schedule; raises UsageError when there is none."""
        return self._one(ScheduleGet(id=check_schedule_id(schedule_id)))

    def search(self, *, limit: int | None = None) -> list[Schedule]:
        """Every schedule, by id, or the first `limit`."""
        replies = self._node().find(ScheduleSearch(), limit)
        found = [schedule for reply in replies for schedule in reply.schedules]
        return sorted(found, key=lambda schedule: schedule.id)[:limit]

    def pause(self, schedule_id: str) -> Schedule:
        """Let its ticks pass without a call until it is resumed, whatever workers declare."""
        return self._one(SchedulePause(id=check_schedule_id(schedule_id)))

    def resume(self, schedule_id: str) -> Schedule:
        """Make its calls again, from the next tick on; those that passed are not made up for."""
        return self._one(ScheduleResume(id=check_schedule_id(schedule_id)))

    def delete(self, schedule_id: str) -> bool:
        """Make no more calls; what was called goes on. False when there is no such schedule."""
        request = ScheduleDelete(id=check_schedule_id(schedule_id))
        return self._node().request([request], request.id).responses[0].schedule is not None

    def trigger(self, schedule_id: str, promise_id: str | None = None) -> Handle[Any]:
        """Make one call now, paused or not, without any effect on its ticks.

        The call's id is drawn, unless one is given; the same one again is the same call. It must
        be the schedule's, a dot, 15 characters and `Z`.
        """
        node = self._node()
        check_schedule_id(schedule_id)
        token = node.session.random.token()[-TOKEN_LENGTH:].rjust(TOKEN_LENGTH, "0")
        called = promise_id or f"{schedule_id}.{token}Z"
        request = ScheduleTrigger(id=schedule_id, promise_id=check_root_id(called))
        response = node.request([request], schedule_id).responses[0]
        if response.status == 409:
            raise Conflict(response.error)
        if response.promise is None:
            raise UsageError(response.error)
        return self._handle(node, response.promise)

    def _one(self, request: ScheduleRequest) -> Schedule:
        response = self._node().request([request], request.id).responses[0]
        if response.schedule is None:
            raise UsageError(response.error)
        return response.schedule


class Declared:
    """The schedules that a program declares: told to the ledger once it has started."""

    def __init__(self) -> None:
        self._creates: dict[str, ScheduleCreate] = {}
        self._node: Node | None = None
        self._lock = threading.Lock()

    def add(self, create: ScheduleCreate) -> None:
        """Declare one; raises UsageError for an id that is taken."""
        with self._lock:
            if create.id in self._creates:
                raise UsageError(
                    f"schedule {create.id!r} is declared already; give this one an id=…"
                )
            self._creates[create.id] = create
            node = self._node
        if node is not None:
            _tell(node, create)

    def begin(self, node: Node) -> None:
        """Tell the ledger through this node, once; waits for nothing."""
        with self._lock:
            known, self._node = self._node is node, node
            creates = list(self._creates.values())
        if not known:
            for create in creates:
                _tell(node, create)


class Scheduling(Configured):
    """What class Resonate offers to those who have calls made by the clock."""

    register: Callable[..., Any]

    def __init__(self) -> None:
        super().__init__()
        self._declared = Declared()
        self.schedules = Schedules(self._joined, self._handle_of)

    def schedule(
        self, schedule_id: str, cron: str, func: Func, /, *args: Any, **kwargs: Any
    ) -> Schedule:
        """Call a function at every tick of a cron expression (UTC); recorded when this returns.

        Each tick is called once, those of an outage afterwards, under the id
        `ID.20260131T120000Z`. The same schedule again takes the new definition over. Raises
        UsageError for a call or an expression that cannot be, BrokerError or LedgerError when
        the ledger did not answer.
        """
        request = self._calls.schedule(schedule_id, cron, func, args, kwargs)
        response = self._joined().request([request], schedule_id).responses[0]
        if response.schedule is None:
            raise UsageError(response.error)
        return response.schedule

    def cron(
        self,
        cron: str,
        *,
        id: str | None = None,  # noqa: A002
        name: str | None = None,
        version: int = 1,
        retry_policy: RetryPolicy | None = None,
    ) -> Callable[[Callable[P, R]], Function[P, R]]:
        """Register a function and have it called at every tick; a decorator.

        The schedule has the function's name as its id, unless one is given, and is told to the
        ledger when this instance starts. Raises UsageError as `register` and `schedule` do.
        """

        def declare(func: Callable[P, R]) -> Function[P, R]:
            added: Function[P, R] = self.register(
                func, name=name, version=version, retry_policy=retry_policy
            )
            # A schedule without the group that it is meant for would call another one.
            self.broker_url()
            calls = self._calls.of_version(version)
            self._declared.add(calls.schedule(id or added.name, cron, added.name, (), {}))
            return added

        return declare

    def _handle_of(self, node: Node, promise: Promise) -> Handle[Any]:
        return self._calls.get(node, promise)

    @property
    def _calls(self) -> Calls:
        """What callers ask for, with the options given."""
        raise NotImplementedError

    def _joined(self) -> Node:
        raise NotImplementedError


def _tell(node: Node, create: ScheduleCreate) -> None:
    """Declare a schedule, until a ledger takes it that knows schedules."""

    def answered(reply: Reply | ResonateError) -> None:
        response = reply.responses[0] if isinstance(reply, Reply) else None
        if response is None or not response.ok:
            reason = reply if response is None else response.error
            log.error("schedule %r is refused: %s", create.id, reason)
            if node.session.ledger_level < LEVEL:
                node.session.later(TELL_AGAIN_MS, lambda: _tell(node, create), routine=True)
        else:
            log.info("schedule %r is in force: %s", create.id, create.cron)

    node.insist([create], create.id, answered)
