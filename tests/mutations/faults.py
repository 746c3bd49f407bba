"""Faults: small changes of the package's source, each of which changes what it does.

They are found on the syntax tree and planted in the text, so that everything else stays as it is.
What only tells something (log lines, texts of errors, docstrings, annotations) is left alone.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_BOUNDARIES: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
_OPERATORS: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "+"),
    ast.FloorDiv: ("//", "*"),
    ast.LShift: ("<<", ">>"),
}
_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
_SIMPLE = (ast.Expr, ast.Assign, ast.AugAssign, ast.Delete)
_SMALL = 10
_TELLING = re.compile(r"\b(log|logger|_log|_telemetry|telemetry|_failpoints|failpoints)\.")
"""Calls that tell what happens, or let a test stop there."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`put` instead of the bytes from `start` to `end` of a file."""

    path: str
    line: int
    last_line: int
    start: int
    end: int
    put: str
    kind: str

    @property
    def name(self) -> str:
        """What it is called in reports, the same in every run on the same source."""
        return f"{self.path}:{self.line}+{self.start}-{self.end} {self.kind}"

    def planted(self, source: bytes) -> bytes:
        """The source with this fault."""
        return source[: self.start] + self.put.encode() + source[self.end :]

    def compiles(self, source: bytes) -> bool:
        """Whether it is a fault of what the source does, and not of its syntax."""
        try:
            compile(self.planted(source), self.path, "exec")
        except (SyntaxError, ValueError):
            return False
        return True


def faults_of(path: str, source: bytes) -> list[Fault]:
    """Every fault that may be planted in a file, in the order of the text."""
    finder = _Finder(path, source)
    finder.body(ast.parse(source).body)
    unique = {(one.start, one.end, one.put): one for one in finder.found}
    return sorted(unique.values(), key=lambda one: (one.start, one.end, one.put))


class _Finder:
    """Walks over statements; expressions of each are looked at with the lines of the statement."""

    def __init__(self, path: str, source: bytes) -> None:
        self.found: list[Fault] = []
        self._path = path
        self._source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._lines = (0, 0)

    def body(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            if not _is_text(statement):
                self._statement(statement)
        for first, second in itertools.pairwise(statements):
            self._swap(first, second)

    def _statement(self, statement: ast.stmt) -> None:
        self._lines = (statement.lineno, statement.end_lineno or statement.lineno)
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                if not statement.name.startswith("__") or statement.name == "__init__":
                    self._lines = (statement.lineno, statement.lineno)
                    for default in (*statement.args.defaults, *statement.args.kw_defaults):
                        if default is not None:
                            self._expression(default)
                    self.body(statement.body)
            case ast.ClassDef():
                self.body(statement.body)
            case ast.If() if "TYPE_CHECKING" in ast.unparse(statement.test):
                return
            case ast.If() | ast.While():
                self._condition(statement.test)
                self.body(statement.body)
                self.body(statement.orelse)
            case ast.For() | ast.AsyncFor():
                self._lines = (statement.lineno, statement.iter.end_lineno or statement.lineno)
                self._expression(statement.iter)
                self.body(statement.body)
                self.body(statement.orelse)
            case ast.With() | ast.AsyncWith():
                self._lines = (statement.lineno, statement.body[0].lineno - 1)
                for item in statement.items:
                    self._expression(item.context_expr)
                self.body(statement.body)
            case ast.Try():
                for part in (statement.body, statement.orelse, statement.finalbody):
                    self.body(part)
                for handler in statement.handlers:
                    self.body(handler.body)
            case ast.Match():
                for case in statement.cases:
                    if case.guard is not None:
                        self._condition(case.guard)
                    self.body(case.body)
            case _:
                self._simple(statement)

    def _simple(self, statement: ast.stmt) -> None:
        if _TELLING.search(self._text(statement).split("(")[0]):
            return
        match statement:
            case ast.Raise():
                self._put(statement, "pass", "no raise")
            case ast.Return(value=None) | ast.Continue() | ast.Break():
                self._put(statement, "pass", "no early end")
            case ast.Return(value=ast.Constant(value=bool() as told)):
                self._put(statement, f"return {not told}", "other answer")
            case ast.Return(value=ast.expr() as value):
                self._expression(value)
            case ast.Expr(value=ast.Call() | ast.Await() as value):
                self._put(statement, "pass", "call left out")
                self._expression(value)
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) | ast.Delete():
                self._put(statement, "pass", "statement left out")
                if isinstance(statement, ast.Assign):
                    self._expression(statement.value)
            case ast.AugAssign():
                self._put(statement, "pass", "statement left out")
                self._operator(statement.target, statement.op, statement.value, "=")
                self._expression(statement.value)
            case ast.AnnAssign(value=ast.expr() as value) | ast.Assign(value=value):
                self._expression(value)
            case _:
                return

    def _condition(self, test: ast.expr) -> None:
        self._lines = (test.lineno, test.end_lineno or test.lineno)
        if not isinstance(test, ast.Compare | ast.UnaryOp):
            self._put(test, f"not ({self._text(test)})", "negated condition")
        self._expression(test)

    def _expression(self, top: ast.expr) -> None:
        for node in _within(top):
            match node:
                case ast.Compare(ops=[op], comparators=[right]):
                    self._between(node.left, right, *_BOUNDARIES[type(op)], "comparison")
                case ast.BoolOp(op=op, values=[left, right, *_]):
                    words = ("and", "or") if isinstance(op, ast.And) else ("or", "and")
                    self._between(left, right, *words, "and for or")
                case ast.UnaryOp(op=ast.Not()):
                    self._put(node, f"({self._text(node.operand)})", "no not")
                case ast.IfExp():
                    self._put(node.test, f"not ({self._text(node.test)})", "negated condition")
                case ast.BinOp():
                    self._operator(node.left, node.op, node.right, "")
                case ast.Constant(value=bool() as told):
                    self._put(node, str(not told), "other constant")
                case ast.Constant(value=int() | float() as number):
                    self._number(node, number)
                case ast.Call():
                    self._call(node)
                case _:
                    continue

    def _number(self, node: ast.expr, number: float) -> None:
        if abs(number) < _SMALL and isinstance(number, int):
            self._put(node, str(number + 1), "other constant")
            self._put(node, f"({number - 1})", "other constant")
        else:
            self._put(node, repr(number * 2), "other constant")

    def _call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in _CALLS:
            self._put(node.func, _CALLS[node.func.id], "min for max")
        for keyword in node.keywords:
            if keyword.arg is None:
                continue
            end = self._at(keyword.end_lineno, keyword.end_col_offset)
            after = re.match(rb"\s*,\s*", self._source[end:])
            start = self._at(keyword.lineno, keyword.col_offset)
            before = re.search(rb",\s*$", self._source[:start])
            if after is not None:
                self._cut(keyword, start, end + after.end(), "", "keyword left out")
            elif before is not None:
                self._cut(keyword, before.start(), end, "", "keyword left out")

    def _operator(self, left: ast.expr, op: ast.operator, right: ast.expr, suffix: str) -> None:
        texts = (ast.JoinedStr, ast.List, ast.Tuple, ast.Dict)
        words = _OPERATORS.get(type(op))
        for side in (left, right):
            if isinstance(side, texts) or (
                isinstance(side, ast.Constant) and isinstance(side.value, str | bytes)
            ):
                return
        if words is not None:
            self._between(left, right, words[0] + suffix, words[1] + suffix, "other operator")

    def _swap(self, first: ast.stmt, second: ast.stmt) -> None:
        """Two statements that do something each, in the other order."""
        if not (isinstance(first, _SIMPLE) and isinstance(second, _SIMPLE)):
            return
        one, two = self._text(first), self._text(second)
        if _is_text(first) or _TELLING.search(one) or _TELLING.search(two):
            return
        if _binds(first) & _reads(second) or not (_acts(first) and _acts(second)):
            return
        start = self._at(first.lineno, first.col_offset)
        end = self._at(second.end_lineno, second.end_col_offset)
        between = self._source[
            self._at(first.end_lineno, first.end_col_offset) : self._at(
                second.lineno, second.col_offset
            )
        ].decode()
        self._lines = (first.lineno, second.end_lineno or second.lineno)
        self._cut(first, start, end, f"{two}{between}{one}", "other order")

    def _between(self, left: ast.expr, right: ast.expr, old: str, new: str, kind: str) -> None:
        start = self._at(left.end_lineno, left.end_col_offset)
        gap = self._source[start : self._at(right.lineno, right.col_offset)].decode()
        if gap.count(old) >= 1:
            put = gap.replace(old, new, 1)
            self._cut(left, start, start + len(gap.encode()), put, f"{kind} {old} -> {new}")

    def _put(self, node: ast.expr | ast.stmt, text: str, kind: str) -> None:
        start = self._at(node.lineno, node.col_offset)
        self._cut(node, start, self._at(node.end_lineno, node.end_col_offset), text, kind)

    def _cut(
        self, node: ast.expr | ast.stmt | ast.keyword, start: int, end: int, text: str, kind: str
    ) -> None:
        first, last = self._lines
        self.found.append(Fault(self._path, first, max(first, last), start, end, text, kind))

    def _text(self, node: ast.expr | ast.stmt) -> str:
        start = self._at(node.lineno, node.col_offset)
        return self._source[start : self._at(node.end_lineno, node.end_col_offset)].decode()

    def _at(self, line: int | None, column: int | None) -> int:
        assert line is not None
        assert column is not None
        return self._starts[line - 1] + column


def _within(top: ast.expr) -> Iterator[ast.expr]:
    """An expression and its parts, but for formatted texts."""
    todo: list[ast.AST] = [top]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.JoinedStr):
            continue
        if isinstance(node, ast.expr):
            yield node
        todo.extend(ast.iter_child_nodes(node))


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _acts(statement: ast.stmt) -> bool:
    """Whether its place among others can matter: it calls something."""
    return any(isinstance(node, ast.Call) for node in ast.walk(statement))


def _names(kind: type[ast.expr_context]) -> Callable[[ast.stmt], set[str]]:
    def names(statement: ast.stmt) -> set[str]:
        found = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
        return {node.id for node in found if isinstance(node.ctx, kind)}

    return names


_binds = _names(ast.Store)
_reads = _names(ast.Load)


def faults_under(root: Path, folders: Sequence[str]) -> list[Fault]:
    """Every fault in these folders of a tree."""
    return [
        fault
        for folder in folders
        for path in sorted((root / folder).rglob("*.py"))
        for fault in faults_of(path.relative_to(root).as_posix(), path.read_bytes())
    ]
