"""Calls from outside: what a function, its arguments and options come to, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from resonate_amqp.core.model import DELAY, ORIGIN, PARENT, SCOPE, TARGET, Promise, TaskState, Value
from resonate_amqp.core.requests import PromiseCreate, Request, Response, TaskGet
from resonate_amqp.core.timetable import ScheduleCreate
from resonate_amqp.errors import ResonateError, UsageError
from resonate_amqp.resonate.node import Node, ttl_create
from resonate_amqp.runtime.commands import Seconds, seconds_of
from resonate_amqp.runtime.handle import Handle
from resonate_amqp.runtime.registry import Registered, Registry, unknown
from resonate_amqp.settings import Settings
from resonate_amqp.wire.address import (
    canonical,
    check_id,
    check_root_id,
    check_schedule_id,
    group_of,
)
from resonate_amqp.wire.codec import encode_call, result_of
from resonate_amqp.wire.cron import check_cron
from resonate_amqp.wire.foreign import check_call
from resonate_amqp.wire.tags import check_tags
from resonate_amqp.wire.typed import UNTYPED, Types, shape_of

LOOK_S = 1.0
"""How long a caller that has waited in vain waits to be told why."""

Func = str | Callable[..., Any]


@dataclass(frozen=True, slots=True)
class CallOptions:
    """Options of calls from outside; `timeout` in seconds, `version` 0 for the latest.

    `returns` is the type of the result where no annotation known here tells it, `delay` how many
    seconds after the call the function starts at the earliest. `strict`: an id that is taken by
    another function or by other arguments is a Conflict.
    """

    target: str | None = None
    timeout: Seconds | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    version: int = 0
    returns: Any = None
    delay: Seconds | None = None
    strict: bool = False

    def replaced(self, **given: Any) -> CallOptions:
        """These, except for the given ones that are not None."""
        return replace(self, **{name: one for name, one in given.items() if one is not None})


@dataclass(frozen=True, slots=True)
class Callee:
    """What a caller names: `found` is its registration here at the version asked for."""

    name: str
    version: int
    known: bool
    """Whether the own group has it, at whatever version."""
    found: Registered | None
    types: Types
    func: Func


@dataclass(frozen=True, slots=True)
class Asked:
    """A call on its way: the request that makes it, and what becomes of its promise."""

    request: Request
    create: PromiseCreate
    settled: Future[Promise]
    read: Callable[[Promise], Any]

    @property
    def listening(self) -> tuple[Request, str, Future[Promise]]:
        """What a node is to send, and whom it is to tell of the outcome."""
        return self.request, self.create.id, self.settled

    def handle(self, node: Node, response: Response) -> Handle[Any]:
        """The caller's handle once the ledger has answered."""
        left_ms = (response.promise or self.create).timeout_at - node.session.now()
        promise_id = self.create.id
        look = partial(why_not, node, promise_id)
        return Handle(promise_id, self.settled, left_ms, node.may_block, self.read, look)


def callee_of(registry: Registry, func: Func, version: int) -> Callee:
    """The function that a name or an object stands for; version 0 is the latest."""
    if isinstance(func, str):
        latest, types = registry.find(func), UNTYPED
        name = func
    else:
        latest = registry.of(func)
        types = registry.described(func, "").types if latest is None and callable(func) else UNTYPED
        name = latest.name if latest else getattr(func, "__name__", repr(func))
    wanted = version or (latest.version if latest else 1)
    found = registry.find(name, wanted) if latest else None
    return Callee(name, wanted, latest is not None, found, found.types if found else types, func)


@dataclass(frozen=True, slots=True)
class Calls:
    """What callers outside of durable functions ask for, with their options."""

    registry: Registry
    settings: Settings
    options: CallOptions

    def rpc(self, node: Node, promise_id: str, func: Func, args: Any, kwargs: Any) -> Asked:
        """A call to wherever its target is."""
        callee = callee_of(self.registry, func, self.options.version)
        create = self._create(callee, node.session.now(), promise_id, args, kwargs)
        return Asked(create, create, _unsettled(), self._reader(callee))

    def run(self, node: Node, promise_id: str, func: Func, args: Any, kwargs: Any) -> Asked:
        """A call to this process; raises UnknownFunction when it is not registered here."""
        callee = callee_of(self.registry, func, self.options.version)
        if callee.found is None:
            if not isinstance(func, str):
                own = self.settings.group
                self.registry.check_elsewhere(func, callee.name, own, own)
            raise unknown(callee.name, self.registry.names(), self.options.version)
        if self.options.delay is not None:
            raise UsageError(f"run {callee.name!r} starts it at once; a delay is for rpc")
        here = replace(self, options=self.options.replaced(target=self.settings.group))
        create = here._create(callee, node.session.now(), promise_id, args, kwargs)
        request = ttl_create(node.session, create)
        return Asked(request, create, _unsettled(), self._reader(callee))

    def create(
        self,
        now: int,
        promise_id: str,
        func: Func,
        args: Any,
        kwargs: Any,
        message: Mapping[str, Any] | None = None,
    ) -> PromiseCreate:
        """The request that records a call made at `now`; raises UsageError for one that cannot
        be. `message` is the one the call came by."""
        callee = callee_of(self.registry, func, self.options.version)
        if self.options.strict:
            raise UsageError(
                f"call {promise_id!r} is sent later, when nobody waits to be told of a conflict; "
                "strict is for rpc and run"
            )
        return self._create(callee, now, promise_id, args, kwargs, message)

    def schedule(
        self, schedule_id: str, cron: str, func: Func, args: Any, kwargs: Any
    ) -> ScheduleCreate:
        """The request that has a call made at every tick; raises UsageError as `create`."""
        callee = callee_of(self.registry, func, self.options.version)
        if self.options.delay is not None:
            raise UsageError(f"schedule {schedule_id!r} calls at its ticks; a delay is for rpc")
        if self.options.strict:
            raise UsageError(
                f"each call of schedule {schedule_id!r} has an id of its own; strict is for rpc "
                "and run"
            )
        target = self._target(callee)
        return ScheduleCreate(
            id=check_schedule_id(schedule_id),
            cron=check_cron(cron),
            param=_param(target, callee, args, kwargs),
            tags=check_tags(self.options.tags) | {TARGET: target},
            timeout_ms=self._timeout_ms(),
        )

    def of_version(self, version: int) -> Calls:
        """The same, for one version of whatever function is named."""
        return replace(self, options=self.options.replaced(version=version))

    def get(self, node: Node, promise: Promise) -> Handle[Any]:
        """The handle of an execution that is running or finished."""
        settled = _unsettled()
        if promise.pending:
            node.listen(promise.id, settled)
        else:
            settled.set_result(promise)
        left_ms = promise.timeout_at - node.session.now()
        look = partial(why_not, node, promise.id)
        return Handle(promise.id, settled, left_ms, node.may_block, self._reader(None), look)

    def _create(
        self,
        callee: Callee,
        now: int,
        promise_id: str,
        args: Any,
        kwargs: Any,
        message: Mapping[str, Any] | None = None,
    ) -> PromiseCreate:
        check_root_id(promise_id)
        check_id(promise_id)
        own = {
            ORIGIN: promise_id,
            PARENT: promise_id,
            SCOPE: "global",
            TARGET: self._target(callee),
        }
        if self.options.delay is not None:
            own[DELAY] = str(now + round(seconds_of(self.options.delay) * 1000))
        return PromiseCreate(
            id=promise_id,
            timeout_at=now + self._timeout_ms(),
            param=_param(own[TARGET], callee, args, kwargs, message),
            tags=check_tags(self.options.tags) | own,
            strict=self.options.strict,
        )

    def _target(self, callee: Callee) -> str:
        own, given = self.settings.group, self.options.target
        target = canonical(own if given is None else given)
        if not isinstance(callee.func, str):
            self.registry.check_elsewhere(callee.func, callee.name, group_of(target), own)
        if given is None and not callee.known:
            raise unknown(callee.name, self.registry.names())
        return target

    def _timeout_ms(self) -> int:
        timeout = self.options.timeout
        return round((self.settings.timeout if timeout is None else seconds_of(timeout)) * 1000)

    def _reader(self, callee: Callee | None) -> Callable[[Promise], Any]:
        """What makes a settled promise the caller's result, or raises what it was rejected with.

        A result is rebuilt by the type that was asked for, else by what the function returns
        that the promise records, as far as it is registered here.
        """
        registry, returns = self.registry, self.options.returns

        def read(promise: Promise) -> Any:
            if returns is not None:
                shape = shape_of(returns)
            elif callee is not None and not callee.known:
                shape = callee.types.returns
            else:
                shape = registry.returns(promise.param)
            return result_of(promise, shape, registry.errors)

        return read


def _param(
    target: str, callee: Callee, args: Any, kwargs: Any, message: Mapping[str, Any] | None = None
) -> Value:
    param = encode_call(callee.name, callee.version, args, kwargs, callee.types, message)
    check_call(target, param)
    return param


def why_not(node: Node, promise_id: str) -> str:
    """That an execution is halted, why, and what lets it go on; empty if it is not, or unknown."""
    try:
        reply = node.ask([TaskGet(id=promise_id)], promise_id).result(LOOK_S)
    except (ResonateError, TimeoutError):  # whoever waits is to be told that, whatever is wrong
        return ""
    task = reply.responses[0].task
    if task is None or task.state is not TaskState.HALTED:
        return ""
    return (
        f"it is halted ({task.reason or 'no reason was given'}): `resonate-amqp tasks redrive "
        f"{promise_id}` lets it go on"
    )


def _unsettled() -> Future[Promise]:
    """A future that nobody who waits for it can cancel for the others."""
    settled: Future[Promise] = Future()
    settled.set_running_or_notify_cancel()
    return settled
