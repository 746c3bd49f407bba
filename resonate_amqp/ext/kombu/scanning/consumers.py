"""Consumers: where a module makes consumers, and the callbacks that these are given."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from resonate_amqp.ext.scanning.sources import Function, Place, Project, Source

_POSITIONS = ("queues", "no_ack", "auto_declare", "callbacks", "on_decode_error", "on_message")


@dataclass(frozen=True, slots=True)
class Consumer:
    """A call that makes a consumer, or gives one a callback more."""

    line: int
    within: ast.ClassDef | None
    function: Function | None
    callbacks: tuple[ast.expr, ...]
    options: dict[str, ast.expr] = field(default_factory=dict)
    queues: tuple[str, ...] = ()

    @property
    def no_ack(self) -> bool:
        """Whether the broker forgets each message as it sends it."""
        return _is_true(self.options.get("no_ack"))


@dataclass(frozen=True, slots=True)
class Callback:
    """What a consumer is given; `place` is None when it is no function that can be seen."""

    name: str
    line: int
    consumer: Consumer
    place: Place | None


def consumers_of(source: Source) -> Iterator[Consumer]:
    """Every consumer that a module makes, as far as its text tells."""
    for node, within, function in _walked(source.tree, None, None):
        match node:
            case ast.Call() if _own_name(node) == "Consumer":
                yield _made(node, within, function)
            case ast.Call(args=[callback]) if _own_name(node) == "register_callback":
                yield Consumer(node.lineno, within, function, (callback,))
            case ast.Assign(targets=[ast.Attribute(attr="on_message")], value=callback):
                yield Consumer(node.lineno, within, function, (callback,))


def callbacks_of(source: Source, consumers: list[Consumer], project: Project) -> list[Callback]:
    """The callbacks of consumers, each once, in the order of the file."""
    found: dict[str, Callback] = {}
    for consumer in consumers:
        for node in consumer.callbacks:
            place = _place(node, source, consumer, project)
            name = ast.unparse(node)
            if place is not None:
                owner = f"{place.within.name}." if place.within is not None else ""
                name = f"{place.source.name}.{owner}{place.node.name}"
            line = place.node.lineno if place is not None else node.lineno
            made = Callback(name, line, consumer, place)
            if name not in found or consumer.no_ack:
                found[name] = made
    return sorted(found.values(), key=lambda one: one.line)


def _made(call: ast.Call, within: ast.ClassDef | None, function: Function | None) -> Consumer:
    named = {one.arg: one.value for one in call.keywords if one.arg}
    # A consumer that is made without a mixin is given its channel first.
    given = call.args[1:] if len(call.args) > 1 and not _is_list(call.args[0]) else call.args
    named |= dict(zip(_POSITIONS, given, strict=False))
    callbacks: list[ast.expr] = []
    match named.get("callbacks"):
        case ast.List(elts=elts) | ast.Tuple(elts=elts):
            callbacks += elts
    if (raw := named.get("on_message")) is not None and not _is_none(raw):
        callbacks.append(raw)
    queues = _queue_names(named.get("queues"), function)
    return Consumer(call.lineno, within, function, tuple(callbacks), named, queues)


def _place(node: ast.expr, source: Source, consumer: Consumer, project: Project) -> Place | None:
    match node:
        case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name):
            return _method(consumer.within, name, source, project)
        case ast.Name(id=name) if consumer.function is not None:
            for inner in ast.walk(consumer.function):
                if isinstance(inner, Function) and inner.name == name:
                    return Place(source, inner)
    dotted = source.dotted(node)
    return None if "(" in dotted else project.function(dotted)


def _method(
    within: ast.ClassDef | None, name: str, source: Source, project: Project
) -> Place | None:
    """A method of a class, or of one that it inherits from."""
    if within is None:
        return None
    found = source.function(f"{source.name}.{within.name}.{name}")
    for base in within.bases:
        if found is not None:
            break
        found = project.function(f"{source.dotted(base)}.{name}")
    return found


def _walked(
    tree: ast.AST, within: ast.ClassDef | None, function: Function | None
) -> Iterator[tuple[ast.AST, ast.ClassDef | None, Function | None]]:
    for node in ast.iter_child_nodes(tree):
        yield node, within, function
        if isinstance(node, ast.ClassDef):
            yield from _walked(node, node, function)
        elif isinstance(node, Function):
            yield from _walked(node, within, node)
        else:
            yield from _walked(node, within, function)


def _queue_names(node: ast.expr | None, function: Function | None) -> tuple[str, ...]:
    """The names of queues in an expression, or in what the function assigns to its names."""
    if node is None:
        return ()
    names = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
    trees: list[ast.AST] = [node]
    if function is not None:
        trees += [
            one.value
            for one in ast.walk(function)
            if isinstance(one, ast.Assign)
            and any(isinstance(target, ast.Name) and target.id in names for target in one.targets)
        ]
    found = []
    for tree in trees:
        for one in ast.walk(tree):
            match one:
                case ast.Call(args=[ast.Constant(value=str(name)), *_]) if _own_name(one) in (
                    "Queue",
                    "Broadcast",
                ):
                    found.append(name)
    return tuple(dict.fromkeys(found))


def _own_name(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def _is_list(node: ast.expr) -> bool:
    return isinstance(node, ast.List | ast.Tuple)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True
