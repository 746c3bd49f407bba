"""Sources: files of the project as syntax trees, and what a name in one of them stands for."""

from __future__ import annotations

import ast
import sys
import sysconfig
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef

OURS = "resonate_amqp"
"""What this package's own functions do is recorded already."""

_INSTALLED = {"site-packages", "dist-packages"}
_STANDARD = Path(sysconfig.get_paths()["stdlib"])


@dataclass(frozen=True, slots=True)
class Place:
    """A function and the file it stands in; `within` is the class it is a method of."""

    source: Source
    node: Function
    within: ast.ClassDef | None = None

    @property
    def dotted(self) -> str:
        """The function's name with those of its module and class."""
        owner = f"{self.within.name}." if self.within is not None else ""
        return f"{self.source.name}.{owner}{self.node.name}"


@dataclass(eq=False)
class Source:
    """One file; `name` is the module's, as imports name it."""

    path: Path
    name: str
    text: str
    tree: ast.Module
    package: bool = False
    _functions: dict[str, Place] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._functions = {place.dotted: place for place in self._places(self.tree, None)}

    @cached_property
    def imports(self) -> dict[str, str]:
        """What each imported name of the file stands for, wherever it is imported."""
        found: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for one in node.names:
                    first = one.name.partition(".")[0]
                    found[one.asname or first] = one.name if one.asname else first
            elif isinstance(node, ast.ImportFrom):
                origin = self._origin(node)
                for one in node.names:
                    found[one.asname or one.name] = f"{origin}.{one.name}"
        return found

    @cached_property
    def top_level(self) -> dict[str, ast.stmt]:
        """The statement that last binds each name at the top of the file, imports aside."""
        found: dict[str, ast.stmt] = {}
        for node in self.tree.body:
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                    found[node.name] = node
                case ast.Assign():
                    found |= {one.id: node for one in node.targets if isinstance(one, ast.Name)}
                case ast.AnnAssign(target=ast.Name(id=name)):
                    found[name] = node
        return found

    @cached_property
    def classes(self) -> dict[str, ast.ClassDef]:
        """The classes at the top of the file."""
        return {
            name: node for name, node in self.top_level.items() if isinstance(node, ast.ClassDef)
        }

    def function(self, dotted: str) -> Place | None:
        """A function or method at the top of the file, by its whole name."""
        return self._functions.get(dotted)

    def places(self) -> Iterator[Place]:
        """Every function at the top of the file and every method of its classes."""
        yield from self._functions.values()

    def at(self, name: str, line: int) -> Place | None:
        """The function whose definition, or first decorator, stands at a line."""
        within: dict[ast.AST, ast.ClassDef] = {
            node: owner
            for owner in ast.walk(self.tree)
            if isinstance(owner, ast.ClassDef)
            for node in owner.body
        }
        for node in ast.walk(self.tree):
            if isinstance(node, Function) and node.name == name and line == first_line(node):
                return Place(self, node, within.get(node))
        return None

    def dotted(self, node: ast.AST) -> str:
        """What an expression names: `requests.post`, `shop.charge.delay().get`; else empty.

        An imported name is given with where it comes from, one of the file with the module's.
        """
        match node:
            case ast.Name(id=name):
                if name in self.imports:
                    return self.imports[name]
                return f"{self.name}.{name}" if name in self.top_level else name
            case ast.Attribute(value=value, attr=attribute):
                return f"{self.dotted(value)}.{attribute}"
            case ast.Call(func=func):
                return f"{self.dotted(func)}()"
            case ast.Subscript(value=value):
                return f"{self.dotted(value)}[]"
            case ast.Await(value=value):
                return self.dotted(value)
        return ""

    def _origin(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        parts = parts[: len(parts) - node.level + self.package]
        return ".".join([*parts, *([node.module] if node.module else [])])

    def _places(self, tree: ast.AST, within: ast.ClassDef | None) -> Iterator[Place]:
        for node in ast.iter_child_nodes(tree):
            if isinstance(node, Function):
                yield Place(self, node, within)
            elif isinstance(node, ast.ClassDef) and within is None:
                yield from self._places(node, node)
            elif isinstance(node, ast.If | ast.Try):
                yield from self._places(node, within)


class Project:
    """The files under a folder, and what they import of their own kind; each is read once."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._read: dict[Path, Source | None] = {}

    def shown(self, path: Path) -> str:
        """A path as it is printed: from the folder or the installed packages, if it is in there."""
        parts = path.parts
        for at, part in enumerate(parts):
            if part in _INSTALLED:
                return "/".join(parts[at + 1 :])
        return str(path.relative_to(self.root)) if self.holds(path) else str(path)

    def holds(self, path: Path) -> bool:
        """Whether a file is in the folder, so that a diff of it can be applied there."""
        return path.is_relative_to(self.root) and self.owns(path)

    def owns(self, path: Path) -> bool:
        """Whether a file is no part of Python or of an installed package."""
        return not (_INSTALLED & set(path.parts) or path.is_relative_to(_STANDARD))

    def source(self, path: Path, name: str) -> Source | None:
        """A file as a tree; None if it is not the project's own, or cannot be read."""
        path = path.resolve()
        if path not in self._read:
            self._read[path] = self._parsed(path, name)
        return self._read[path]

    def module(self, name: str) -> Source | None:
        """A module of the project, imported or not."""
        if not name or name.partition(".")[0] == OURS:
            return None
        known = getattr(sys.modules.get(name), "__file__", None)
        if known is not None:
            return self.source(Path(known), name)
        relative = Path(*name.split("."))
        for folder in dict.fromkeys([str(self.root), *sys.path]):
            for path in (Path(folder, relative, "__init__.py"), Path(folder, f"{relative}.py")):
                if path.is_file():
                    return self.source(path, name)
        return None

    def function(self, dotted: str) -> Place | None:
        """The function that a whole name stands for, through one module that passes it on."""
        for _ in range(4):
            owner, _, own = dotted.rpartition(".")
            source = self.module(owner) or self.module(owner.rpartition(".")[0])
            if source is None:
                return None
            found = source.function(dotted)
            if found is not None:
                return found
            dotted = source.imports.get(own, "")
        return None

    def _parsed(self, path: Path, name: str) -> Source | None:
        ours = name.partition(".")[0] == OURS
        if ours or not self.owns(path) or path.suffix != ".py":
            return None
        try:
            # Bytes that are decoded here keep the file's own ends of lines.
            raw = path.read_bytes()
            with path.open("rb") as file:
                encoding, _ = tokenize.detect_encoding(file.readline)
            text = raw.decode(encoding)
            return Source(path, name, text, ast.parse(raw), path.name == "__init__.py")
        except (OSError, SyntaxError, UnicodeDecodeError):
            return None


def first_line(node: Function | ast.ClassDef) -> int:
    """The line at which a definition begins, with its decorators."""
    return min([node.lineno, *(one.lineno for one in node.decorator_list)])


def own_nodes(function: Function) -> Iterator[ast.AST]:
    """What a function runs itself: its body, lambdas included, without functions defined in it."""
    left: list[ast.AST] = list(reversed(function.body))
    while left:
        node = left.pop()
        yield node
        if not isinstance(node, Function | ast.ClassDef):
            left += reversed(list(ast.iter_child_nodes(node)))


def parameters(function: Function) -> list[ast.arg]:
    """What a function takes, in order."""
    given = function.args
    return [*given.posonlyargs, *given.args, *given.kwonlyargs]
