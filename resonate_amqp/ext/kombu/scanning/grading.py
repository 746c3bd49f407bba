"""Grading: what is to be done with each callback of a consumer, and what to know of it before."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from resonate_amqp.ext.kombu.scanning.consumers import Callback
from resonate_amqp.ext.scanning.acts import Reader, Reading
from resonate_amqp.ext.scanning.decorators import DURABLE, durable_at, judged
from resonate_amqp.ext.scanning.findings import Grade, Graded, Remark
from resonate_amqp.ext.scanning.rewrites import Rewriter, unrecorded
from resonate_amqp.ext.scanning.sources import Place, Project, own_nodes, parameters


class Grading:
    """Grades the callbacks of one module."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._reader = Reader(project, "ctx.id (with ctx before the body)")

    def of(self, one: Callback) -> Graded:
        """The callback's grade, its steps, and its warnings."""
        path = "" if one.place is None else self._project.shown(one.place.source.path)
        graded = Graded("callback", one.name, path, one.line)
        for why in self._left(one):
            graded.leave(why)
        if one.place is None:
            return graded
        reading = self._reader.read(one.place)
        if graded.grade is Grade.LEAVE:
            graded.warnings += unrecorded(one.place, reading) if _is_durable(one) else []
            return graded
        graded.warnings = [*self._warnings(one.place, reading), *reading.drawn]
        if reading.times > 1 or any(act.outside for act in reading.acts):
            rewriter = Rewriter(one.place)
            graded.grade = Grade.STEPS
            graded.steps = [rewriter.step(act) for act in reading.acts]
        return graded

    def _left(self, one: Callback) -> Iterator[str]:
        if one.consumer.no_ack:
            yield (
                f"its consumer has no_ack=True (line {one.consumer.line}): the broker forgets "
                "each message as it sends it, so that none comes again; take it without no_ack"
            )
        if one.place is None:
            yield (
                "it is no function that can be seen: wrap it where it is given to the consumer, "
                "durable(resonate, name='…')(callback), under a name that stays"
            )
            return
        if _is_durable(one):
            yield "it is durable already"
            return
        if isinstance(one.place.node, ast.AsyncFunctionDef):
            yield "it is an async function, which Kombu does not run: write def, and ctx first"
        names = [name.arg for name in parameters(one.place.node)]
        if "ctx" in names:
            yield (
                "its own argument is called ctx, which durable takes for its context: rename the "
                "argument, then decorate"
            )
        if any(_is_static(decorator) for decorator in one.place.node.decorator_list):
            yield "it is a static or class method: write a method or a function, then decorate"

    def _warnings(self, place: Place, reading: Reading) -> Iterator[Remark]:
        for decorator in place.node.decorator_list:
            yield from judged(self._project, place, decorator, above=False)
        given = [one.arg for one in parameters(place.node) if one.arg not in ("self", "cls")]
        message = given[-1] if given else "message"
        body = given[0] if len(given) > 1 else f"{message}.payload"
        parameter = ", ".join(given)
        key, stem = _key_in(place, body), place.node.name.removeprefix("on_")
        yield Remark(
            "a message without message_id runs at least once: name what it stands for, "
            f"id=lambda {parameter}: f\"{stem}-{{{body}['{key or 'id'}']}}\"",
            place.node.lineno,
        )
        works = min((act.line for act in reading.acts), default=0)
        for node in own_nodes(place.node):
            if isinstance(node, ast.Call):
                yield from _of_call(node, place, message, works)
            elif isinstance(node, ast.ExceptHandler):
                yield from _of_handler(node, message)


def _is_durable(one: Callback) -> bool:
    """Whether a callback, or the class whose consumer has it, is decorated already."""
    if one.place is None:
        return False
    source, within = one.place.source, one.consumer.within
    classes = [] if within is None else within.decorator_list
    made = [source.dotted(node.func if isinstance(node, ast.Call) else node) for node in classes]
    return durable_at(one.place) is not None or any(name.startswith(DURABLE) for name in made)


def _of_call(call: ast.Call, place: Place, message: str, works: int) -> Iterator[Remark]:
    name = ast.unparse(call.func)
    named = {one.arg: ast.unparse(one.value) for one in call.keywords}
    if name == f"{message}.ack" and named.get("multiple") == "True":
        yield Remark(
            "ack(multiple=True) is refused: it would settle messages that are not recorded",
            call.lineno,
        )
    elif name == f"{message}.ack" and works and call.lineno < works:
        yield Remark(
            "acknowledges before its work: a durable callback's ack reaches the broker after the "
            "outcome is recorded, so that a crash in between has it run again instead of losing it",
            call.lineno,
        )
    elif name == f"{message}.reject" and "True" not in [
        named.get("requeue"),
        *(ast.unparse(one) for one in call.args),
    ]:
        yield Remark(
            "rejects: where a dead-letter route leads back here, the message runs again as the "
            "next attempt of its execution (ID.attempt-2)",
            call.lineno,
        )
    elif name in (f"{message}.requeue", f"{message}.reject"):
        yield Remark(
            "puts the message back at once: it circles without a pause, and RabbitMQ from 4.0 on "
            "counts that against a quorum queue's delivery limit; give a retry_policy= instead",
            call.lineno,
        )
    elif name.rpartition(".")[2] == "publish" and _repeats_id(call, message):
        yield Remark(
            "sends on under the id of the message it has: other content, such as a header that "
            "counts, is an execution of its own; with an id= it is a Conflict",
            call.lineno,
        )


def _of_handler(handler: ast.ExceptHandler, message: str) -> Iterator[Remark]:
    caught = "" if handler.type is None else ast.unparse(handler.type)
    calls = [ast.unparse(one.func) for one in ast.walk(handler) if isinstance(one, ast.Call)]
    if caught in ("", "Exception", "BaseException") and f"{message}.ack" in calls:
        yield Remark(
            "acknowledges what failed: that is recorded as its outcome, and no repetition of the "
            "message runs again",
            handler.lineno,
        )


def _repeats_id(call: ast.Call, message: str) -> bool:
    for one in call.keywords:
        text = ast.unparse(one.value)
        if one.arg == "message_id" and message in text:
            return True
        if one.arg is None and text in (f"{message}.properties", f"dict({message}.properties)"):
            return True
    return False


def _is_static(decorator: ast.expr) -> bool:
    return ast.unparse(decorator) in ("staticmethod", "classmethod")


def _key_in(place: Place, body: str) -> str:
    """A key of the body by which the callback itself names what the message is about."""
    keys = []
    for node in own_nodes(place.node):
        match node:
            case ast.Subscript(value=value, slice=ast.Constant(value=str(key))):
                if ast.unparse(value) == body:
                    keys.append(key)
    return next((key for key in keys if key == "id" or key.endswith(("_id", "number"))), "")
