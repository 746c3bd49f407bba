"""Which marks a test gets by the servers that its fixtures give it, whatever they are called."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

from resonate_amqp.dev.broker import PrivateBroker
from resonate_amqp.dev.choose import ChosenBroker
from resonate_amqp.dev.databases import ForeignPostgres
from resonate_amqp.dev.postgres import PrivatePostgres
from tests.redis_server import PrivateRedis

MARKS: dict[type, str] = {
    ChosenBroker: "rabbitmq",
    PrivateBroker: "rabbitmq",
    ForeignPostgres: "postgres",
    PrivatePostgres: "postgres",
    PrivateRedis: "redis",
}
"""By the class of a server, the mark of the tests that use one."""
NAMED = {"nodejs": "nodejs"}
"""By the name of a fixture that gives no server, the mark of the tests that use it."""


def marks_of(item: pytest.Item) -> set[str]:
    """The marks that a test's fixtures call for, those that they use themselves included."""
    info = getattr(item, "_fixtureinfo", None)
    if info is None:
        return set()
    found = {NAMED[name] for name in NAMED.keys() & set(info.names_closure)}
    for definitions in info.name2fixturedefs.values():
        for definition in definitions:
            found |= marks_given_by(definition.func)
    return found


@functools.cache
def marks_given_by(fixture: Callable[..., Any]) -> frozenset[str]:
    """The marks that what a fixture is annotated to give calls for."""
    try:
        given = get_type_hints(fixture).get("return")
    except (NameError, TypeError):  # a fixture of a plugin, whose names are there for types only
        return frozenset()
    return frozenset(
        mark
        for kind in _classes_in(given)
        for server, mark in MARKS.items()
        if server in kind.__mro__
    )


def _classes_in(annotation: Any) -> Iterator[type]:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType) or (
        isinstance(origin, type) and issubclass(origin, Iterator)
    ):
        for part in get_args(annotation):
            yield from _classes_in(part)
    elif isinstance(annotation, type):
        yield annotation
