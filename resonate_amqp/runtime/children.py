"""Children: the promise that a command stands for, as it is to be recorded.

Everything that decides a child's record is here, so that replay can compare what a body asks for
with what it asked for before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from resonate_amqp.core.model import (
    BRANCH,
    EMPTY,
    EXTERNAL,
    ORIGIN,
    PARENT,
    SCOPE,
    TARGET,
    TIMER,
    Promise,
    origin_of,
)
from resonate_amqp.core.requests import PromiseCreate
from resonate_amqp.errors import Encoding, UnknownFunction
from resonate_amqp.runtime.commands import (
    Command,
    External,
    Invoke,
    Mode,
    Seconds,
    Sleep,
    seconds_of,
)
from resonate_amqp.runtime.registry import Registered, Registry, described, unknown
from resonate_amqp.wire.address import canonical, check_id
from resonate_amqp.wire.codec import decode_call, encode, encode_call
from resonate_amqp.wire.tags import check_tags

KIND_TAGS = (SCOPE, TARGET, TIMER, EXTERNAL)


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


def local_function(family: Family, command: Invoke) -> Registered:
    """The function that an lfc or lfi runs; raises UnknownFunction."""
    if isinstance(command.func, str):
        found = family.registry.find(command.func, command.version)
        if found is None:
            raise UnknownFunction(
                f"{command.mode} {command.func!r}: it is not registered in this process"
            )
        return found
    return family.registry.of(command.func) or described(_raw(command.func), command.name)


def create_of(
    family: Family, parent_id: str, parent_timeout_at: int, command: Command, now: int
) -> PromiseCreate:
    """The request that records a command's promise; raises UsageError for one that cannot be.

    A child's deadline is capped by its parent's, except a detached one's.
    """
    tags = {ORIGIN: origin_of(parent_id), PARENT: parent_id, BRANCH: family.branch}
    check_id(command.id)
    match command:
        case Invoke():
            name, version = _named(family, command)
            param = encode_call(name, version, command.args, command.kwargs)
            tags |= check_tags(command.tags)
            if command.mode.local:
                tags[SCOPE] = "local"
            else:
                tags[SCOPE] = "global"
                tags[TARGET] = _target(family, command, name)
            timeout_at = _deadline(family, command.timeout, now)
            if command.mode is not Mode.DETACHED:
                timeout_at = min(timeout_at, parent_timeout_at)
        case Sleep():
            param = EMPTY
            tags |= {SCOPE: "global", TIMER: "true"}
            timeout_at = min(now + round(command.seconds * 1000), parent_timeout_at)
        case External():
            param = encode(command.data, "data")
            tags |= check_tags(command.tags) | {SCOPE: "global", EXTERNAL: "true"}
            timeout_at = min(_deadline(family, command.timeout, now), parent_timeout_at)
        case _:
            raise AssertionError(f"no such command: {command!r}")
    return PromiseCreate(id=command.id, timeout_at=timeout_at, param=param, tags=tags)


def difference(recorded: Promise, asked: PromiseCreate) -> str:
    """What differs between a recorded child and the one a replay asks for; empty when nothing."""
    was, now = _described(recorded), _described(asked)
    if was == now:
        if _same_arguments(recorded, asked):
            return ""
        return f"promise {asked.id!r} was recorded as {was} with other arguments"
    return f"promise {asked.id!r} was recorded as {was}, and the body now asks for {now}"


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
    if tags.get(TIMER) == "true":
        return "a sleep"
    if tags.get(EXTERNAL) == "true":
        return "an external promise"
    func = one.param.headers.get("func", "?")
    if tags.get(SCOPE) == "local":
        return f"a local call of {func!r}"
    return f"a call of {func!r} at {tags.get(TARGET)}"


def _named(family: Family, command: Invoke) -> tuple[str, int]:
    if command.mode.local:
        function = local_function(family, command)
        return function.name, function.version
    if isinstance(command.func, str):
        registered = family.registry.find(command.func, command.version)
    else:
        registered = family.registry.of(command.func)
    if registered is not None:
        return registered.name, command.version or registered.version
    return command.name, command.version or 1


def _target(family: Family, command: Invoke, name: str) -> str:
    if command.target is not None:
        return canonical(command.target)
    if family.registry.find(name) is None:
        raise unknown(name, family.registry.names())
    return canonical(family.group)


def _deadline(family: Family, timeout: Seconds | None, now: int) -> int:
    seconds = family.timeout_s if timeout is None else seconds_of(timeout)
    return now + round(seconds * 1000)


def _raw(func: Callable[..., Any]) -> Callable[..., Any]:
    raw: Callable[..., Any] = getattr(func, "durable_function", func)
    return raw
