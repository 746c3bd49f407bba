"""Suspension: where inside its own code a suspended coroutine waits."""

from __future__ import annotations

import gc
import types
from collections.abc import Iterator
from typing import Any

COMBINATORS = frozenset(
    {"asyncio.locks", "asyncio.queues", "asyncio.taskgroups", "asyncio.tasks", "asyncio.timeouts"}
)
"""Modules of asyncio that wait for other tasks of the same loop and for nothing else."""
SLEEPS = frozenset({"sleep", "__sleep0"})


def combines(coroutine: Any) -> bool:
    """Whether a coroutine waits inside one of asyncio's own combinators."""
    frame = _innermost(coroutine)
    if frame is None or frame.f_globals.get("__name__") not in COMBINATORS:
        return False
    return frame.f_code.co_name not in SLEEPS


def place_of(coroutine: Any) -> str:
    """`module.function` of the code that waits."""
    frame = _innermost(coroutine)
    if frame is None:
        return "something"
    return f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"


def is_bare(coroutine: Any) -> bool:
    """Whether a task has no code of its own, but was made of something that can be awaited."""
    code = getattr(coroutine, "cr_code", None) or getattr(coroutine, "gi_code", None)
    return code is not None and code.co_name == "_wrap_awaitable"


def holds(coroutine: Any, kinds: tuple[type, ...]) -> bool:
    """Whether a variable of a coroutine is of one of these kinds, or has such a part."""
    return any(
        isinstance(part, kinds)
        for frame in _frames(coroutine)
        for value in list(frame.f_locals.values())
        for part in (value, *_parts(value))
    )


def _parts(value: Any) -> list[Any]:
    match value:
        case list() | tuple() | set() | frozenset():
            return list(value)
        case dict():
            return list(value.values())
        case _:
            return list(getattr(value, "__dict__", {}).values())


def _innermost(awaiting: Any) -> types.FrameType | None:
    """The frame at the end of a chain of coroutines, each of which awaits the next."""
    frame = None
    for frame in _frames(awaiting):  # noqa: B007 the last one is meant
        pass
    return frame


def _frames(awaiting: Any) -> Iterator[types.FrameType]:
    """The frames of a chain of coroutines, each of which awaits the next."""
    while awaiting is not None:
        match awaiting:
            case types.CoroutineType():
                inner, own = awaiting.cr_await, awaiting.cr_frame
            case types.GeneratorType():
                inner, own = awaiting.gi_yieldfrom, awaiting.gi_frame
            case types.AsyncGeneratorType():
                inner, own = awaiting.ag_await, awaiting.ag_frame
            case _:
                inner, own = _inside(awaiting), None
        if own is not None:
            yield own
        awaiting = inner


def _inside(wrapper: Any) -> Any:
    """The coroutine or generator in one of the interpreter's own wrappers, such as `asend`."""
    kinds = (types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType)
    if type(wrapper).__module__ != "builtins":
        return None
    return next((one for one in gc.get_referents(wrapper) if isinstance(one, kinds)), None)
