"""Mixins: every callback of every consumer of a ConsumerMixin becomes durable."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from resonate_amqp.ext.kombu.decorator import Durable
from resonate_amqp.ext.kombu.forms import name_of

C = TypeVar("C", bound=type)


def durable_class(cls: C, made: Callable[..., Durable]) -> C:
    """Wrap the callbacks of the consumers that `get_consumers` answers, at every connection."""
    known: dict[str, Durable] = {}
    get_consumers = cls.get_consumers  # type: ignore[attr-defined]  # what makes it a ConsumerMixin

    def wrapped(callback: Any, place: str) -> Any:
        func = getattr(callback, "__func__", callback)
        if isinstance(func, Durable):
            return callback
        name = name_of(func)
        own = name.rpartition(".")[2]
        if not name or isinstance(func, functools.partial):
            name = f"{name_of(cls)}.{_described(func)}-{place}"
        elif getattr(cls, own, None) is func:
            # Several classes may inherit one method, each with a name of its own for it.
            name = f"{name_of(cls)}.{own}"
        durable = known.get(name) or known.setdefault(name, made(func, name=name))
        # A function that is made anew for each connection holds what belongs to that one.
        durable.func = func
        if not durable.form.method:
            return durable
        return durable.__get__(callback.__self__, cls)

    @functools.wraps(get_consumers)
    def durable_consumers(self: Any, /, *args: Any, **kwargs: Any) -> list[Any]:
        consumers = list(get_consumers(self, *args, **kwargs))
        for at, consumer in enumerate(consumers, 1):
            consumer.callbacks = [
                wrapped(one, f"{at}.{number}")
                for number, one in enumerate(consumer.callbacks or [], 1)
            ]
            if consumer.on_message is not None:
                consumer.on_message = wrapped(consumer.on_message, f"{at}.0")
        return consumers

    cls.get_consumers = durable_consumers  # type: ignore[attr-defined]  # as above
    return cls


def _described(func: Any) -> str:
    """What a callable without a name of its own is called: its place in the class tells more."""
    while isinstance(func, functools.partial):
        func = func.func
    name = name_of(func).rpartition(".")[2]
    return name or ("lambda" if hasattr(func, "__qualname__") else type(func).__name__)
