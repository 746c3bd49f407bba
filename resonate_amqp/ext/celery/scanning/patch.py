"""Patch: the diff that makes the tasks durable that are to be decorated as they are."""

from __future__ import annotations

import ast
import sys

from celery import Celery

from resonate_amqp.ext.celery.scanning.functions import Registered
from resonate_amqp.ext.scanning.edits import RESONATE, Edits, resonate_in, taken
from resonate_amqp.ext.scanning.findings import Grade, Graded, Remark
from resonate_amqp.ext.scanning.sources import Place, Project, Source

DOOR = "resonate_amqp.ext.celery"


def patched(
    project: Project,
    module: str,
    app: Celery,
    registered: list[Registered],
    graded: list[Graded],
) -> str:
    """The unified diff of the files whose tasks are graded DECORATE; empty when there is none."""
    edits = Edits(project)
    home = _home(project, module, app, registered)
    wanted: dict[Source, list[Registered]] = {}
    for one, finding in zip(registered, graded, strict=True):
        if one.place is None or finding.grade is not Grade.DECORATE:
            continue
        why = _not_patched(project, one.place)
        if why:
            finding.warnings.append(Remark(f"the diff leaves it out: {why}"))
        else:
            wanted.setdefault(one.place.source, []).append(one)
    for source, tasks in wanted.items():
        _decorate(edits, source, tasks, home)
    return edits.diff()


def _decorate(
    edits: Edits, source: Source, tasks: list[Registered], home: tuple[Source, str] | None
) -> None:
    name = resonate_in(source)
    given = f"({name or RESONATE})"
    if name is not None:
        edits.imported(source, DOOR, "durable")
    elif home is not None and home[0] is source:
        edits.imported(source, DOOR, "durable", "from_celery")
        edits.add(source, _configured(source, home[1]), f"{RESONATE} = from_celery({home[1]})")
    elif (
        home is not None
        and _knows(source, home[0])
        and not _imports_early(home[0], home[1], source)
    ):
        made = resonate_in(home[0])
        if made is None:
            edits.imported(home[0], DOOR, "from_celery")
            line = _configured(home[0], home[1])
            edits.add(home[0], line, f"{RESONATE} = from_celery({home[1]})")
        edits.imported(source, DOOR, "durable")
        edits.imported(source, home[0].name, made or RESONATE)
        given = f"({made or RESONATE})"
    else:
        # A module that does not know the app is not to import it: the app may import the module.
        edits.imported(source, DOOR, "durable")
        given = "()"
    for one in tasks:
        assert one.place is not None
        at = one.decorated_at
        decorators = one.place.node.decorator_list
        below = 0 if at is None else decorators[at].end_lineno or 0
        edits.decorate(one.place, below, f"@durable{given}")


def _home(
    project: Project, module: str, app: Celery, registered: list[Registered]
) -> tuple[Source, str] | None:
    """The file at whose top the app is made, and the app's name there."""
    names = [module, *(one.place.source.name for one in registered if one.place is not None)]
    for name in list(dict.fromkeys(names)):
        source = project.module(name)
        if source is not None:
            names += [one.rpartition(".")[0] for one in source.imports.values()]
    for name in dict.fromkeys(names):
        source, loaded = project.module(name), sys.modules.get(name)
        if source is None or loaded is None or not project.holds(source.path):
            continue
        for own, node in source.top_level.items():
            if getattr(loaded, own, None) is app and isinstance(node, ast.Assign | ast.AnnAssign):
                return source, own
    return None


def _knows(source: Source, home: Source) -> bool:
    """Whether a file imports the module of the app already."""
    known = source.imports.values()
    return any(one == home.name or one.startswith(f"{home.name}.") for one in known)


def _imports_early(home: Source, app: str, source: Source) -> bool:
    """Whether the app's module imports a file before its Resonate can be made."""
    line = _configured(home, app)
    return any(
        isinstance(node, ast.Import | ast.ImportFrom)
        and node.lineno <= line
        and source.name in ast.unparse(node)
        for node in home.tree.body
    )


def _configured(source: Source, app: str) -> int:
    """The line below which the app is configured: its last statement before the first task."""
    last = source.top_level[app].end_lineno or 0
    begun = False
    for node in source.tree.body:
        if node is source.top_level[app]:
            begun = True
        elif begun and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if any(_names(one, app) for one in node.decorator_list):
                break
        elif (
            begun and isinstance(node, ast.Assign | ast.AugAssign | ast.Expr) and _names(node, app)
        ):
            last = node.end_lineno or last
    return last


def _names(tree: ast.AST, name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(tree))


def _not_patched(project: Project, place: Place) -> str:
    """Why a function's file is not changed; empty if it is."""
    if not project.holds(place.source.path):
        return "its file is in another folder; run this there"
    if place.within is None and place.node.col_offset:
        return "it is defined inside of a function; decorate it where its app is known"
    if name := taken(place.source, DOOR):
        return f"its file has a {name} of its own; import ours under another name"
    return ""
