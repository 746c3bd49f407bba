"""Edits: lines that are added to files, as one unified diff."""

from __future__ import annotations

import ast
import difflib
from collections import defaultdict
from dataclasses import dataclass, field

from resonate_amqp.ext.scanning.sources import Place, Project, Source, first_line

RESONATE = "resonate"
"""The name that is given to a module's Resonate."""


@dataclass(slots=True)
class Edits:
    """What is added to the files of a project; each line goes below the one with its number."""

    project: Project
    _added: dict[Source, dict[int, list[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    _imports: dict[tuple[Source, str], set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, source: Source, below: int, line: str) -> None:
        """Add a line, once."""
        lines = self._added[source][below]
        if line not in lines:
            lines.append(line)

    def decorate(self, place: Place, below: int, text: str) -> None:
        """Add a decorator below a line of a function's, or as the topmost if `below` is 0."""
        indent = " " * place.node.col_offset
        at = below or first_line(place.node) - 1
        self.add(place.source, at, f"{indent}{text}")

    def imported(self, source: Source, module: str, *names: str) -> None:
        """Import what a file does not import yet: names of a module, or the module itself."""
        missing = {name for name in names if source.imports.get(name) != f"{module}.{name}"}
        if missing or (not names and source.imports.get(module) != module):
            self._imports[source, module] |= missing

    def after_imports(self, source: Source) -> int:
        """The line that ends the imports at the beginning of a file."""
        imports = _imports(source)
        return (imports[-1].end_lineno or 0) if imports else _doc_end(source)

    def diff(self) -> str:
        """The unified diff, for `patch -p1` or `git apply` in the project's folder."""
        # What is imported stands above what else is added at its place.
        for (source, module), names in sorted(self._imports.items(), key=_by_module, reverse=True):
            listed = ", ".join(sorted(names))
            text = f"from {module} import {listed}" if names else f"import {module}"
            self._added[source][_import_line(source, module)].insert(0, text)
        self._imports.clear()
        files = sorted(self._added.items(), key=lambda item: item[0].path)
        return "".join(self._diff_of(source, added) for source, added in files)

    def _diff_of(self, source: Source, added: dict[int, list[str]]) -> str:
        # Other ends of lines than these are no ends of lines to Python.
        before = source.text.splitlines(keepends=True) if _plain(source.text) else _lines(source)
        end = "\r\n" if before and before[0].endswith("\r\n") else "\n"
        after: list[str] = []
        for number, line in enumerate(["", *before]):
            if number:
                after.append(line)
            after += [f"{one}{end}" if one else end for one in added.get(number, [])]
        shown = self.project.shown(source.path)
        made = difflib.unified_diff(before, after, f"a/{shown}", f"b/{shown}")
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in made
        )


def _by_module(item: tuple[tuple[Source, str], set[str]]) -> str:
    return item[0][1]


def _plain(text: str) -> bool:
    return text.isascii() and not any(mark in text for mark in "\x0b\x0c\x1c\x1d\x1e")


def _lines(source: Source) -> list[str]:
    parts = source.text.split("\n")
    return [f"{one}\n" for one in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _import_line(source: Source, module: str) -> int:
    """Below which line an import belongs: in its place among those of Celery or Kombu."""
    imports = _imports(source)
    if not imports:
        return _doc_end(source)
    same = [node for node in imports if _first_name(node) == module]
    if same:
        return same[-1].end_lineno or 0
    near = [at for at, node in enumerate(imports) if _first_name(node).startswith(_NEIGHBOURS)]
    if not module.startswith(_NEIGHBOURS):
        # A module of Python's own belongs to the first block, below a __future__.
        future = [at for at, node in enumerate(imports) if _first_name(node) == "__future__"]
        first = future[-1] + 1 if future else 0
        alone = first == len(imports)
        return (imports[-1].end_lineno or 0) if alone else imports[first].lineno - 1
    at = near[-1] if near else len(imports) - 1
    while near and at + 1 < len(imports) and _goes_on(imports[at], imports[at + 1], module):
        at += 1
    return imports[at].end_lineno or imports[at].lineno


def resonate_in(source: Source) -> str | None:
    """The name under which a file has a Resonate already."""
    for name, node in source.top_level.items():
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            made = source.dotted(node.value.func)
            if made.startswith(("resonate_amqp.Resonate", "resonate_amqp.ext.celery.from_celery")):
                return name
    return None


_NEIGHBOURS = ("celery", "kombu", "resonate_amqp")


def taken(source: Source, door: str) -> str:
    """A name that the edits need and a file has for something else; empty without any."""
    for name in ("durable", RESONATE):
        bound = name in source.top_level and resonate_in(source) != name
        imported = source.imports.get(name, "")
        ours = imported in ("", f"{door}.durable") or name == RESONATE
        if bound or not ours:
            return name
    return ""


def _imports(source: Source) -> list[ast.stmt]:
    """The imports that stand before anything else, a docstring aside."""
    found: list[ast.stmt] = []
    for node in source.tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.append(node)
        elif found and not isinstance(node, ast.If | ast.Try | ast.Expr):
            break
    return found


def _doc_end(source: Source) -> int:
    doc = source.tree.body[0] if ast.get_docstring(source.tree) else None
    return 0 if doc is None else doc.end_lineno or 0


def _goes_on(node: ast.stmt, following: ast.stmt, module: str) -> bool:
    """Whether the following import is of the same block, and sorts before the module."""
    if not isinstance(following, ast.ImportFrom) or following.level:
        return False
    return (node.end_lineno or 0) + 1 == following.lineno and _first_name(following) < module


def _first_name(node: ast.stmt) -> str:
    match node:
        case ast.ImportFrom(module=str(module), level=0):
            return module
        case ast.Import(names=[first, *_]):
            return first.name
    return ""
