"""Reach: the functions that a decorated one leads to, whether its decorators say so or not.

`functools.wraps` leaves a trace, `__wrapped__`. A decorator without it still holds what it calls:
in a closure, in a `functools.partial`, as a bound method or as an attribute of an object.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from celery import Celery, Task
from celery.local import Proxy

from resonate_amqp.resonate import Resonate

MOST = 200
"""How many objects are looked at; an object that holds a whole framework is not searched through.
"""
MOST_PARTS = 20

_Holders = (Task, Proxy, Celery, Resonate, type, types.ModuleType, types.BuiltinFunctionType)
"""What holds functions and calls none of them as its own."""


def reachable(
    func: Callable[..., Any], sought: Callable[[Any], bool] | None = None
) -> Iterator[Any]:
    """What can be called and stands inside a function, the nearest first; itself comes first.

    What is inside of something that is `sought` is left out.
    """
    seen = {id(func)}
    left = deque([func])
    for _ in range(MOST):
        if not left:
            return
        one = left.popleft()
        if callable(one):
            yield one
        if sought is not None and sought(one):
            continue
        for part in _parts(one):
            if id(part) not in seen and _is_of_interest(part):
                seen.add(id(part))
                left.append(part)


def _parts(one: Any) -> Iterator[Any]:
    match one:
        case types.FunctionType():
            yield from _attribute(one, "__wrapped__")
            for cell in one.__closure__ or ():
                try:
                    yield cell.cell_contents
                except ValueError:  # it is assigned later
                    continue
            yield from one.__defaults__ or ()
            yield from (one.__kwdefaults__ or {}).values()
        case types.MethodType():
            yield from (one.__func__, one.__self__)
        case functools.partial():
            yield from (one.func, *one.args, *one.keywords.values())
        case list() | tuple():
            yield from _only(one)
        case dict():
            yield from _only(one.values())
        case _:
            # An object that loads itself when it is first asked for something is not to be asked.
            yield inspect.getattr_static(one, "__wrapped__", None)
            held = next(_attribute(one, "__dict__"), None)
            yield from list(held.values())[:MOST_PARTS] if isinstance(held, dict) else ()
            yield from _slotted(one)
            yield from _attribute(type(one), "__call__")


def _only(several: Iterable[Any]) -> Iterator[Any]:
    """What can be called of several, if it is one; of more, it is open which of them is."""
    called = [one for one in islice(several, MOST_PARTS) if callable(one)]
    if len(called) == 1:
        yield from called


def _slotted(one: Any) -> Iterator[Any]:
    for kind in type(one).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            yield from _attribute(one, name)


def _attribute(one: Any, name: str) -> Iterator[Any]:
    try:
        yield getattr(one, name)
    except Exception:  # an object may do anything when it is asked
        return


def _is_of_interest(part: Any) -> bool:
    kind = type(part)
    if issubclass(kind, (list, tuple, dict)):
        return True
    return not issubclass(kind, _Holders) and (callable(part) or bool(kind.__dictoffset__))
