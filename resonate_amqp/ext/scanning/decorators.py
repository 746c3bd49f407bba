"""Decorators: what those of a shop do to a function, which decides where `@durable` may stand."""

from __future__ import annotations

import ast

from resonate_amqp.ext.scanning.findings import Remark
from resonate_amqp.ext.scanning.sources import Function, Place, Project, own_nodes

DURABLE = ("resonate_amqp.ext.celery.durable", "resonate_amqp.ext.kombu.durable")


def name_of(place: Place, decorator: ast.expr) -> str:
    """What a decorator is called, without its arguments."""
    bare = decorator.func if isinstance(decorator, ast.Call) else decorator
    return place.source.dotted(bare)


def durable_at(place: Place) -> int | None:
    """Which of a function's decorators makes it durable."""
    for at, decorator in enumerate(place.node.decorator_list):
        if name_of(place, decorator).startswith(DURABLE):
            return at
    return None


def judged(project: Project, place: Place, decorator: ast.expr, *, above: bool) -> list[Remark]:
    """What to know of a decorator that stands above or below `@durable`."""
    name, line = name_of(place, decorator), decorator.lineno
    made = project.function(name)
    if made is None:
        return []
    wrapper = _wrapper(made.node)
    if wrapper is None:
        return []
    own = name.rpartition(".")[2]
    found = []
    if not _keeps_name(wrapper, made):
        said = (
            "hides that the function below it is durable, so that its message is acknowledged early"
            if above
            else "hides the function's name and what it takes, so that ctx cannot be told"
        )
        found.append(Remark(f"@{own} {said}: put functools.wraps on its wrapper", line))
    if (caught := _swallows(wrapper)) is not None:
        said = (
            "what it answers instead reaches Celery, while the ledger has the error"
            if above
            else "what it answers instead is recorded as the result, and no retry tries again"
        )
        at = f"line {caught.lineno} of {made.source.path.name}"
        found.append(Remark(f"@{own} catches every Exception ({at}): {said}", line))
    return found


def _wrapper(made: Function) -> Function | None:
    """The innermost function that a decorator answers."""
    returned = {
        node.value.id
        for node in ast.walk(made)
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Name)
    }
    inner = [
        node
        for node in ast.walk(made)
        if isinstance(node, Function) and node is not made and node.name in returned
    ]
    # With arguments of its own a decorator is a function that answers one.
    return inner[-1] if inner else None


def _keeps_name(wrapper: Function, made: Place) -> bool:
    names = [ast.unparse(one) for one in wrapper.decorator_list]
    calls = [ast.unparse(node.func) for node in ast.walk(made.node) if isinstance(node, ast.Call)]
    return any("wraps" in one for one in names) or any("update_wrapper" in one for one in calls)


def _swallows(wrapper: Function) -> ast.ExceptHandler | None:
    """A handler of every Exception that raises none."""
    for node in own_nodes(wrapper):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = "" if node.type is None else ast.unparse(node.type)
        every = caught in ("", "Exception", "BaseException")
        if every and not any(isinstance(one, ast.Raise) for one in ast.walk(node)):
            return node
    return None
