"""Suspension: where inside its own code a suspended coroutine waits."""

from __future__ import annotations

import gc
import types
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


def _innermost(awaiting: Any) -> types.FrameType | None:
    """The frame at the end of a chain of coroutines, each of which awaits the next."""
    frame = None
    while awaiting is not None:
        match awaiting:
            case types.CoroutineType():
                inner, own = awaiting.cr_await, awaiting.cr_frame
            case types.GeneratorType():
                inner, own = awaiting.gi_yieldfrom, awaiting.gi_frame
            case types.AsyncGeneratorType():
                inner, own = awaiting.ag_await, awaiting.ag_frame
            case _:
                inner, own = _inside(awaiting), frame
        frame = own or frame
        awaiting = inner
    return frame


def _inside(wrapper: Any) -> Any:
    """The coroutine or generator in one of the interpreter's own wrappers, such as `asend`."""
    kinds = (types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType)
    if type(wrapper).__module__ != "builtins":
        return None
    return next((one for one in gc.get_referents(wrapper) if isinstance(one, kinds)), None)
