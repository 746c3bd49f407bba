"""Acts: what a function does line by line, and what the project's functions do that it calls."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from resonate_amqp.ext.scanning.effects import EFFECTS, Kind, drawn_in, kind_of
from resonate_amqp.ext.scanning.findings import Remark
from resonate_amqp.ext.scanning.sources import Function, Place, Project, Source, own_nodes

OUTSIDE = {Kind.TASK, Kind.WAIT, Kind.SLEEP, Kind.POLL}
"""The kinds that are a step of their own however often they happen."""

_DEPTH = 6
_TRANSACTION = re.compile(r"atomic|begin|transaction|session|connect|closing|cursor", re.IGNORECASE)
_WAITING = {"get", "wait", "join", "get_leaf"}
_CANVAS = re.compile(r"^celery\.(?:canvas\.)?(?:group|chain|chord|chunks|xmap|xstarmap)(?:\(\))?$")


@dataclass(frozen=True, slots=True)
class Act:
    """A call of a function with what it does; `helper` is the project's function that does it.

    `times` is how many effects it has, `loop` the line of the loop it stands in, `begun` the call
    of a task whose result a `.get()` waits for.
    """

    call: ast.Call
    kinds: frozenset[Kind]
    times: int = 1
    helper: Place | None = None
    loop: int = 0
    begun: ast.Call | None = None

    @property
    def line(self) -> int:
        """Where it stands."""
        return self.call.lineno

    @property
    def outside(self) -> bool:
        """Whether it waits or calls tasks: a function that only retries one effect does not."""
        waits = self.kinds & OUTSIDE
        if self.helper is None:
            return bool(waits)
        return bool(waits & {Kind.TASK, Kind.WAIT}) or (bool(waits) and waits == self.kinds)


@dataclass(slots=True)
class Reading:
    """All acts of a function, in order; `times` is how many effects one run has at most."""

    acts: list[Act] = field(default_factory=list)
    times: int = 0
    drawn: list[Remark] = field(default_factory=list)

    @property
    def kinds(self) -> frozenset[Kind]:
        """Everything that is done."""
        return frozenset().union(*(act.kinds for act in self.acts))


class Reader:
    """Reads functions of one project, each once; `key` names what stands for an execution."""

    def __init__(self, project: Project, key: str) -> None:
        self.project = project
        self._key = key
        self._known: dict[ast.AST, Reading] = {}

    def read(self, place: Place, depth: int = 0) -> Reading:
        """What a function does, as far as its source tells."""
        found = self._known.get(place.node)
        if found is None:
            # One that calls itself does nothing more by that.
            self._known[place.node] = found = Reading()
            acts = dict(self._acts(place, depth))
            committed = {
                call for call in acts if place.source.dotted(call.func).endswith(".commit")
            }
            if committed:
                # What is added to a transaction takes effect by its commit.
                acts = {
                    call: act
                    for call, act in acts.items()
                    if call in committed or act.helper or act.kinds != {Kind.DATABASE}
                }
            acts = _by_transaction(place, acts)
            found.acts = list(acts.values())
            found.times = _Count(acts).of(place.node.body)
            found.drawn = [
                Remark(
                    f"{text} is another value each time this runs: use {self._key} as the key of "
                    "what must happen once",
                    call.lineno,
                )
                for call in acts
                if (text := drawn_in(call, place.source.dotted))
            ]
        return found

    def helper(self, place: Place, call: ast.Call) -> Place | None:
        """The function of the project that a call calls, if it can be told."""
        if isinstance(call.func, ast.Name):
            for node in ast.walk(place.node):
                inner = isinstance(node, Function) and node is not place.node
                if inner and isinstance(node, Function) and node.name == call.func.id:
                    return Place(place.source, node)
        dotted = place.source.dotted(call.func)
        if dotted.startswith("self.") and place.within is not None:
            return place.source.function(
                f"{place.source.name}.{place.within.name}.{dotted.removeprefix('self.')}"
            )
        if "(" in dotted or "[" in dotted:
            return None
        return self.project.function(dotted)

    def _acts(self, place: Place, depth: int) -> Iterator[tuple[ast.Call, Act]]:
        source, loops = place.source, _loops(place.node)
        results, queues = _results(place.node, source), _queues(place.node, source)
        covered: set[ast.AST] = set()
        for node in own_nodes(place.node):
            if not isinstance(node, ast.Call) or node in covered:
                continue
            call, loop = _called(node, source), loops.get(node, 0)
            begun = _awaited(call, source, results)
            if begun is not None or _takes_reply(call, queues):
                covered |= set(ast.walk(call.func))
                yield node, Act(call, frozenset({Kind.WAIT}), begun=begun, loop=loop)
                continue
            kind = _kind_of(call, source)
            if kind is Kind.TASK:
                canvas = _CANVAS.search(source.dotted(call.func))
                covered |= set(ast.walk(node if canvas else call.func)) - {node}
            if kind is Kind.SLEEP and loop:
                kind = Kind.POLL
            if kind is not None:
                yield node, Act(call, frozenset({kind}), loop=loop)
            elif depth < _DEPTH and (helper := self.helper(place, call)) is not None:
                does = self.read(helper, depth + 1)
                if does.kinds:
                    yield node, Act(call, does.kinds, does.times, helper, loop)


class _Count:
    """How many effects statements have at most, in one run."""

    def __init__(self, acts: dict[ast.Call, Act]) -> None:
        self._acts = acts

    def of(self, statements: list[ast.stmt]) -> int:
        total = 0
        for at, node in enumerate(statements):
            rest = statements[at + 1 :]
            if isinstance(node, ast.If):
                total += self._in(node.test)
                yes, no = self.of(node.body), self.of(node.orelse)
                if _leaves(node.body):
                    return total + max(yes, no + self.of(rest))
                if node.orelse and _leaves(node.orelse):
                    return total + max(no, yes + self.of(rest))
                total += max(yes, no)
            elif isinstance(node, ast.For | ast.AsyncFor | ast.While):
                # A loop that is left after its effect tries again; any other repeats it.
                again = 1 if _is_left(node) else 2
                total += again * self.of(node.body) + self.of(node.orelse)
                total += self._in(node.test if isinstance(node, ast.While) else node.iter)
            elif isinstance(node, ast.Try):
                failed = max((self.of(one.body) for one in node.handlers), default=0)
                done = self.of(node.body) + self.of(node.orelse)
                total += max(done, failed) + self.of(node.finalbody)
            elif isinstance(node, ast.With | ast.AsyncWith):
                total += sum(self._in(one.context_expr) for one in node.items)
                total += self.of(node.body)
            elif isinstance(node, ast.Match):
                total += max(self.of(case.body) for case in node.cases)
            elif not isinstance(node, Function | ast.ClassDef):
                total += self._in(node)
        return total

    def _in(self, tree: ast.AST) -> int:
        total = 0
        for node in ast.walk(tree):
            act = self._acts.get(node) if isinstance(node, ast.Call) else None
            if act is not None and act.kinds & EFFECTS.keys():
                total += act.times
            if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp):
                total += self._in(node.elt)
        return total


def _by_transaction(place: Place, acts: dict[ast.Call, Act]) -> dict[ast.Call, Act]:
    """Leave one of the writes of each `with` that is a transaction: they happen together."""
    whole = any(_TRANSACTION.search(place.source.dotted(one)) for one in place.node.decorator_list)
    blocks: list[list[ast.stmt]] = [place.node.body] if whole else []
    for node in own_nodes(place.node):
        if isinstance(node, ast.With | ast.AsyncWith):
            opened = " ".join(ast.unparse(one) for one in node.items)
            if _TRANSACTION.search(opened):
                blocks.append(node.body)
    gone: set[ast.Call] = set()
    for block in blocks:
        inside = [node for statement in block for node in ast.walk(statement)]
        writes = [
            node
            for node in inside
            if isinstance(node, ast.Call)
            and node in acts
            and node not in gone
            and acts[node].kinds == {Kind.DATABASE}
        ]
        gone |= set(writes[1:])
    return {call: act for call, act in acts.items() if call not in gone}


def _kind_of(call: ast.Call, source: Source) -> Kind | None:
    dotted = source.dotted(call.func)
    if dotted == "self.replace" and len(call.args) == 1:
        return Kind.TASK
    if dotted.startswith("ctx."):
        return None
    return kind_of(call, dotted)


def _called(call: ast.Call, source: Source) -> ast.Call:
    """The call itself, or the one that `partial(task.delay, …)` stands for."""
    if source.dotted(call.func) != "functools.partial" or not call.args:
        return call
    made = ast.Call(func=call.args[0], args=call.args[1:], keywords=call.keywords)
    return ast.copy_location(made, call)


def _awaited(call: ast.Call, source: Source, results: dict[str, ast.Call]) -> ast.Call | None:
    """The call of a task whose result this call waits for."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in _WAITING:
        return None
    match call.func.value:
        case ast.Name(id=name):
            return results.get(name)
        case ast.Call() as inner:
            while isinstance(inner.func, ast.Call) and _kind_of(inner, source) is not Kind.TASK:
                inner = inner.func
            return inner if _kind_of(inner, source) is Kind.TASK else None
    return None


def _results(function: Function, source: Source) -> dict[str, ast.Call]:
    """The names that hold results of tasks, with the call that began each."""
    found: dict[str, ast.Call] = {}
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                made = value.elt if isinstance(value, ast.ListComp) else value
                while isinstance(made, ast.Call):
                    if _kind_of(made, source) is Kind.TASK:
                        found[name] = made
                        break
                    made = made.func
            case (
                ast.For(target=ast.Name(id=name), iter=ast.Name(id=many))
                | ast.comprehension(target=ast.Name(id=name), iter=ast.Name(id=many))
            ) if many in found:
                found[name] = found[many]
    return found


def _queues(function: Function, source: Source) -> set[str]:
    """The names that hold a SimpleQueue, from which replies are taken."""
    found: set[str] = set()
    for node in ast.walk(function):
        match node:
            case ast.withitem(context_expr=ast.Call(func=func), optional_vars=ast.Name(id=name)):
                held = source.dotted(func)
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=func)):
                held = source.dotted(func)
            case _:
                continue
        if held.endswith(("SimpleQueue", "SimpleBuffer")):
            found.add(name)
    return found


def _takes_reply(call: ast.Call, queues: set[str]) -> bool:
    match call.func:
        case ast.Attribute(value=ast.Name(id=name), attr="get"):
            return name in queues
    return False


def _loops(function: Function) -> dict[ast.AST, int]:
    """The line of the innermost loop around each node of a function."""
    found: dict[ast.AST, int] = {}
    for node in own_nodes(function):
        if isinstance(node, ast.For | ast.AsyncFor | ast.While):
            found |= {inside: node.lineno for inside in ast.walk(node) if inside is not node}
    return found


def _leaves(statements: list[ast.stmt]) -> bool:
    """Whether statements end the function, or the run of the loop."""
    return bool(statements) and isinstance(
        statements[-1], ast.Return | ast.Raise | ast.Continue | ast.Break
    )


def _is_left(loop: ast.For | ast.AsyncFor | ast.While) -> bool:
    return any(isinstance(node, ast.Return | ast.Break) for node in ast.walk(loop))
