"""Children: the promise that a command stands for, as it is to be recorded.

Everything that decides a child's record is here, so that replay can compare what a body asks for
with what it asked for before.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from resonate_amqp.core.model import (
    BRANCH,
    DELAY,
    DETACHED,
    EMPTY,
    EXTERNAL,
    MIRROR,
    ORIGIN,
    PARENT,
    SCOPE,
    TARGET,
    TIMER,
    Promise,
    origin_of,
)
from resonate_amqp.core.requests import PromiseCreate
from resonate_amqp.errors import Encoding, UnknownFunction, UsageError
from resonate_amqp.runtime.commands import (
    Command,
    External,
    Invoke,
    Mode,
    Other,
    Seconds,
    Sleep,
    Timeout,
    seconds_of,
)
from resonate_amqp.runtime.locally import AS_EVER, LocalSteps
from resonate_amqp.runtime.outcomes import outcome_of
from resonate_amqp.runtime.registry import (
    LATEST,
    Registered,
    Registry,
    check_retried,
    registered_object,
    unknown,
)
from resonate_amqp.wire.address import canonical, check_id, group_of
from resonate_amqp.wire.codec import decode_call, encode, encode_call
from resonate_amqp.wire.differences import difference_of
from resonate_amqp.wire.foreign import check_call
from resonate_amqp.wire.tags import check_tags
from resonate_amqp.wire.typed import UNTYPED, Shape, Types, shape_of


@dataclass(frozen=True, slots=True)
class Family:
    """What every child of one task shares."""

    branch: str
    """The task's own promise."""
    group: str
    """Where a registered function without a target is called."""
    registry: Registry
    timeout_s: float
    """How long a child may take when nothing else is said."""
    steps: LocalSteps = AS_EVER
    expected: dict[str, Shape | None] = field(default_factory=dict)
    """By child, the shape of a result that the child's record does not lead to."""

    def outcome(self, promise: Promise) -> tuple[Any, BaseException | None]:
        """The value of a settled child, rebuilt, or the error to raise where it is awaited."""
        if promise.id in self.expected:
            returns = self.expected[promise.id]
        else:
            returns = self.registry.returns(promise.param)
        return outcome_of(promise, self.steps.carried(returns), self.registry.errors)

    def may_go_on(self, function: Registered) -> bool:
        """Whether only the record tells at which version a local call is to run.

        A workflow goes on at the version it began with, and its record is not preloaded.
        """
        workflow = function.workflow or function.is_async
        return workflow and self.registry.several(function.name)


def local_function(family: Family, command: Invoke, version: int = LATEST) -> Registered:
    """The function that an lfc or lfi runs, with the call's options; raises UnknownFunction.

    `version` is the one on record, when there is a record.
    """
    found = _function(family, command, version)
    if found is None:
        wanted = version or command.version
        at = f" at version {wanted}" if wanted else ""
        raise UnknownFunction(
            f"{command.mode} {command.name!r}: it is not registered in this process{at}"
        )
    if command.retry_policy is not None:
        check_retried(found.name, found.workflow)
        found = replace(found, retry=command.retry_policy)
    if command.returns is not None:
        found = replace(found, types=replace(found.types, returns=shape_of(command.returns)))
    if family.steps.carry is not None:
        found = replace(found, types=family.steps.typed(found.types))
    return found


def create_of(
    family: Family, parent_id: str, parent_timeout_at: int, command: Command, now: int
) -> PromiseCreate:
    """The request that records a command's promise; raises UsageError for one that cannot be.

    A child's deadline is capped by its parent's, except a detached one's. A child with an id of
    its own keeps its numbered one here, and names its own as the promise that it mirrors.
    """
    tags = {ORIGIN: origin_of(parent_id), PARENT: parent_id, BRANCH: family.branch}
    check_id(command.id)
    match command:
        case Invoke():
            name, version, types = _named(family, command)
            param = encode_call(name, version, command.args, command.kwargs, types)
            tags |= check_tags(command.tags)
            if command.local:
                tags[SCOPE] = "local"
            else:
                tags[SCOPE] = "global"
                tags[TARGET] = _target(family, command, name)
                check_call(tags[TARGET], param)
            if command.delay is not None:
                tags[DELAY] = str(now + round(seconds_of(command.delay) * 1000))
            timeout_at = _deadline(family, command.timeout, now)
            if command.mode is Mode.DETACHED:
                tags[DETACHED] = "true"
            else:
                timeout_at = min(timeout_at, parent_timeout_at)
        case Sleep():
            param = EMPTY
            tags |= {SCOPE: "global", TIMER: "true"}
            timeout_at = min(now + round(command.seconds * 1000), parent_timeout_at)
        case External():
            param = encode(command.data, "data")
            tags |= check_tags(command.tags) | {SCOPE: "global", EXTERNAL: "true"}
            timeout_at = min(_deadline(family, command.timeout, now), parent_timeout_at)
        case Other():
            # Not external: the ledger would create it, and cancel it with this task.
            param = EMPTY
            tags[SCOPE] = "global"
            timeout_at = parent_timeout_at
        case _:
            raise AssertionError(f"no such command: {command!r}")
    if command.mirrored:
        tags[MIRROR] = command.mirrored
    return PromiseCreate(id=command.id, timeout_at=timeout_at, param=param, tags=tags)


def check_kept(command: Command, frame_id: str, reached: int, parent_timeout_at: int) -> None:
    """Raise UsageError for a sleep or a promise that would outlast its caller's deadline.

    `reached` is the earliest instant at which the command can have been issued (epoch ms), by
    the record alone: so a replay refuses what was refused before, and nothing else.
    """
    match command:
        case Timeout():
            return
        case Sleep(seconds=seconds):
            what = "sleep"
        case External(timeout=timeout) if timeout is not None:
            what, seconds = "promise", seconds_of(timeout)
        case _:
            return
    until = reached + round(seconds * 1000)
    if until > parent_timeout_at:
        raise UsageError(
            f"{frame_id!r}: the {what} would last until {shown_instant(until)} at the earliest, "
            f"and {frame_id!r} has its deadline at {shown_instant(parent_timeout_at)}: call it "
            "with .options(timeout=…), or raise the setting `timeout`, by default one day"
        )


def shown_instant(at: int) -> str:
    """An instant (epoch ms) as a person reads it; one that no calendar holds in ms."""
    try:
        return datetime.fromtimestamp(at / 1000, UTC).isoformat(" ", "seconds")
    except (OverflowError, ValueError, OSError):
        return f"{at} ms"


def difference(recorded: Promise, asked: PromiseCreate) -> str:
    """What differs between a recorded child and the one a replay asks for; empty when nothing."""
    if recorded.param == asked.param and recorded.tags == asked.tags:
        return ""
    was, now = _described(recorded), _described(asked)
    parents = recorded.tags.get(PARENT, ""), asked.tags.get(PARENT, "")
    if parents[0] != parents[1]:
        was, now = f"{was} by {parents[0]!r}", f"{now} by {parents[1]!r}"
    if was == now:
        if _same_arguments(recorded, asked):
            return ""
        other = difference_of(recorded.param, asked.param)
        return f"promise {asked.id!r} was recorded as {was} with other arguments: {other}"
    return f"promise {asked.id!r} was recorded as {was}, and the body now asks for {now}"


def now_a_branch(recorded: Promise) -> str:
    """What differs when the number of a recorded child is now that of an asyncio branch."""
    return (
        f"promise {recorded.id!r} was recorded as {_described(recorded)}, and the body now starts "
        "an asyncio branch there"
    )


def _same_arguments(recorded: Promise, asked: PromiseCreate) -> bool:
    """Whether both ask for the same; the version may have risen, where none was asked for."""
    if recorded.param.data == asked.param.data:
        return True
    try:
        was, now = decode_call(recorded.param), decode_call(asked.param)
    except Encoding:
        return False
    return (was.args, was.kwargs) == (now.args, now.kwargs)


def _described(one: Promise | PromiseCreate) -> str:
    tags = one.tags
    mirrored = f" with the id {tags[MIRROR]!r}" if MIRROR in tags else ""
    if tags.get(TIMER) == "true":
        return "a sleep"
    if tags.get(EXTERNAL) == "true" or (mirrored and TARGET not in tags):
        return f"an external promise{mirrored}"
    func = one.param.headers.get("func", "?")
    if tags.get(SCOPE) == "local":
        return f"a local call of {func!r}"
    return f"a call of {func!r} at {tags.get(TARGET)}{mirrored}"


def _function(family: Family, command: Invoke, version: int = LATEST) -> Registered | None:
    """What a call names, as far as it is known here, at the version it asks for."""
    version = version or command.version
    if isinstance(command.func, str):
        return family.registry.find(command.func, version)
    registered = family.registry.of(command.func)
    if registered is None:
        return family.registry.described(registered_object(command.func), command.name)
    return family.registry.find(registered.name, version or registered.version)


def _named(family: Family, command: Invoke) -> tuple[str, int, Types]:
    """Name, version and types of what a call names; what is known of its result is kept."""
    registered = None if isinstance(command.func, str) else family.registry.of(command.func)
    function = local_function(family, command) if command.local else _function(family, command)
    if command.returns is not None:
        family.expected[command.id] = shape_of(command.returns)
    if function is None:
        name = registered.name if registered else command.name
        return name, command.version or 1, UNTYPED
    if registered is None and not isinstance(command.func, str):
        family.expected.setdefault(command.id, function.types.returns)
    return function.name, command.version or function.version, function.types


def _target(family: Family, command: Invoke, name: str) -> str:
    target = canonical(family.group if command.target is None else command.target)
    if not isinstance(command.func, str):
        group = group_of(target)
        family.registry.check_elsewhere(command.func, name, group, family.group)
    if command.target is not None:
        return target
    if family.registry.find(name) is None:
        raise unknown(name, family.registry.names())
    return target


def _deadline(family: Family, timeout: Seconds | None, now: int) -> int:
    seconds = family.timeout_s if timeout is None else seconds_of(timeout)
    return now + round(seconds * 1000)
