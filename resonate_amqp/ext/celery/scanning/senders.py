"""Senders: what those who call tasks give them, in the modules of the tasks themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from resonate_amqp.ext.celery.scanning.functions import Registered, keyword
from resonate_amqp.ext.scanning.findings import Remark
from resonate_amqp.ext.scanning.sources import Project, Source

_SENDING = ("delay", "apply_async", "send_task", "signature", "set", "s", "si")
_DRAWN = ("uuid", "gen_unique_id", "uuid4", "hex")


def warnings(project: Project, registered: list[Registered]) -> list[Remark]:
    """Each `task_id=` that may stand for several messages, and each set among arguments."""
    sources = {one.place.source for one in registered if one.place is not None}
    found: dict[tuple[str, str], list[str]] = {}
    for source in sorted(sources, key=lambda one: one.path):
        for line, text in _said(source):
            found.setdefault((project.shown(source.path), text), []).append(str(line))
    return [Remark(f"{path}:{', '.join(at)} {text}") for (path, text), at in found.items()]


def _said(source: Source) -> Iterator[tuple[int, str]]:
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr not in _SENDING:
            continue
        given = keyword(node, "task_id")
        if given is not None and not _is_drawn(source, given):
            yield (
                node.lineno,
                f"sends with task_id={ast.unparse(given)}: the task id is the promise's, so that "
                "a second message with the same one returns the first one's outcome and does not "
                "run",
            )
        if any(_is_set(one) for value in _arguments(node) for one in ast.walk(value)):
            yield node.lineno, "sends a set, which JSON does not carry: send a list"


def _arguments(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(one.value for one in call.keywords)]


def _is_set(node: ast.AST) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
    return False


def _is_drawn(source: Source, value: ast.expr) -> bool:
    """Whether an id is drawn for the message alone."""
    calls = [node for node in ast.walk(value) if isinstance(node, ast.Call)]
    return any(source.dotted(one.func).rpartition(".")[2] in _DRAWN for one in calls)
