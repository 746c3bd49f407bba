"""Reuse: the task ids that callers choose, each of which is one execution of a durable task."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from resonate_amqp.ext.celery.scanning.functions import Registered, keyword
from resonate_amqp.ext.scanning.findings import Remark, Report
from resonate_amqp.ext.scanning.sources import Project, Source

_DRAWN = ("uuid", "gen_unique_id", "uuid4", "hex")


def reused_ids(project: Project, registered: list[Registered], report: Report) -> None:
    """Warn of each `task_id=` in the modules of the tasks that may stand for several messages."""
    sources = {one.place.source for one in registered if one.place is not None}
    for source in sorted(sources, key=lambda one: one.path):
        lines: dict[str, list[str]] = {}
        for call, said in _given(source):
            lines.setdefault(said, []).append(str(call.lineno))
        for said, at in lines.items():
            report.warnings.append(
                Remark(
                    f"{project.shown(source.path)}:{', '.join(at)} sends with task_id={said}: the "
                    "task id is the promise's, so that a second message with the same one "
                    "returns the first one's outcome and does not run",
                )
            )


def _given(source: Source) -> Iterator[tuple[ast.Call, str]]:
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr not in ("apply_async", "send_task", "signature", "set"):
            continue
        given = keyword(node, "task_id")
        if given is None or _is_drawn(source, given):
            continue
        yield node, ast.unparse(given)


def _is_drawn(source: Source, value: ast.expr) -> bool:
    """Whether an id is drawn for the message alone."""
    calls = [node for node in ast.walk(value) if isinstance(node, ast.Call)]
    return any(source.dotted(one.func).rpartition(".")[2] in _DRAWN for one in calls)
