"""Grading: what is to be done with each task, and what to know of it before."""

from __future__ import annotations

import ast
import inspect
import types
import typing
from collections.abc import Iterator
from typing import Any

from celery import Celery, Task

from resonate_amqp.ext.celery.made import made_of
from resonate_amqp.ext.celery.scanning.configuration import is_fanout, name_of
from resonate_amqp.ext.celery.scanning.functions import Registered, keyword
from resonate_amqp.ext.celery.tasks import DurableTask
from resonate_amqp.ext.celery.workers import GREEN
from resonate_amqp.ext.scanning.acts import Reader, Reading
from resonate_amqp.ext.scanning.decorators import durable_at, judged
from resonate_amqp.ext.scanning.effects import Kind
from resonate_amqp.ext.scanning.findings import Grade, Graded, Remark
from resonate_amqp.ext.scanning.rewrites import Rewriter, unrecorded
from resonate_amqp.ext.scanning.sources import Place, Project, own_nodes

_OPTIONS = (
    "acks_late",
    "autoretry_for",
    "expires",
    "ignore_result",
    "max_retries",
    "priority",
    "queue",
    "rate_limit",
    "retry_backoff",
    "serializer",
    "soft_time_limit",
    "time_limit",
    "track_started",
)
_HOOKS = ("__call__", "before_start", "on_failure", "on_retry", "on_success", "after_return")


class Grading:
    """Grades the tasks of one app."""

    def __init__(
        self, app: Celery, project: Project, registered: list[Registered], pool: str
    ) -> None:
        self._app = app
        self._project = project
        self._reader = Reader(project, "ctx.id, or self.request.id,")
        self._green = next((name for name in GREEN if name in pool), "")
        queues = app.amqp.queues.values()
        self._fanout = {one.name: name_of(one) for one in queues if is_fanout(one)}

    def of(self, one: Registered) -> Graded:
        """The task's grade, its steps, and its warnings."""
        graded = Graded("task", one.task.name, one.path, one.line, options=options_of(one))
        if (queue := self._queue_of(one.task.name)) != self._app.conf.task_default_queue:
            graded.options.setdefault("queue", self._fanout.get(queue, queue))
        reading = None if one.place is None else self._reader.read(one.place)
        for why in self._left(one):
            graded.leave(why)
        if reading is not None and one.place is not None:
            graded.warnings += self._warnings(one, one.place, reading)
            graded.warnings += reading.drawn if graded.grade is not Grade.LEAVE else []
            graded.warnings += unrecorded(one.place, reading) if self._is_durable(one) else []
        if graded.grade is Grade.LEAVE or reading is None or one.place is None:
            return graded
        if reading.times > 1 or any(act.outside for act in reading.acts):
            rewriter = Rewriter(one.place, self._queue_of)
            graded.grade = Grade.STEPS
            graded.steps = [rewriter.step(act) for act in reading.acts]
            if getattr(one.task, "autoretry_for", None):
                graded.warnings.append(
                    Remark(
                        "autoretry_for: a retry replays what is recorded, so that a step that "
                        "failed fails again; let the called task do the retrying"
                    )
                )
        elif not reading.acts:
            graded.reasons.append(
                "no effect was seen in it: if running it twice does no harm, it need not be durable"
            )
        return graded

    def _queue_of(self, name: str) -> str:
        routed = self._app.amqp.router.route({}, name).get("queue")
        return "" if routed is None else str(getattr(routed, "name", routed))

    def _left(self, one: Registered) -> Iterator[str]:
        """Why a task is to stay as it is."""
        func = one.func
        if self._is_durable(one):
            yield "it is durable already"
            return
        if inspect.iscoroutinefunction(func) or inspect.isasyncgenfunction(func):
            yield (
                "it is an async function, which Celery does not run: write a plain function, or "
                "a generator that yields ctx.rfc(…)"
            )
        if self._green:
            yield f"its worker's pool is {self._green}, in which durable tasks do not run"
        if one.place is None:
            yield _unread(one, self._project)
            return
        names = [name for name in _signature(func) if name != "self"]
        at = 1 if one.bound and len(_signature(func)) > len(names) else 0
        if "ctx" in list(_signature(func))[: at + 1]:
            yield (
                "its own argument is called ctx, which durable takes for its context: rename the "
                "argument, here and where it is given by keyword, then decorate"
            )
        elif inspect.isgeneratorfunction(func):
            yield "it is a generator, of which Celery makes no result: return a list"
        for name, why in _unfit_arguments(func, _is_pydantic(one)):
            yield f"its argument {name!r} {why}"

    def _is_durable(self, one: Registered) -> bool:
        hidden = one.place is not None and durable_at(one.place) is not None
        return hidden or isinstance(one.task, DurableTask) or made_of(one.task) is not None

    def _warnings(self, one: Registered, place: Place, reading: Reading) -> Iterator[Remark]:
        decorators = place.node.decorator_list
        task_at = one.decorated_at
        durable = durable_at(place)
        for at, decorator in enumerate(decorators):
            if at == durable or (task_at is not None and at <= task_at):
                continue
            above = durable is not None and at < durable
            yield from judged(self._project, place, decorator, above=above)
        yield from _of_classes(one.task)
        yield from _of_nodes(place)
        if _is_pydantic(one):
            yield Remark(
                "pydantic=True: what is recorded are the arguments of the message, and models are "
                "made of them again at each run; return model.model_dump(mode='json'), no model"
            )
        yield from _of_result(one)
        if (serializer := one.task.serializer) not in (None, "json", "application/json"):
            yield Remark(
                f"serializer is {serializer!r}: what durable tasks take and answer has to be what "
                "Kombu's JSON carries"
            )
        queue = self._queue_of(one.task.name)
        if queue in self._fanout:
            yield Remark(
                f"it is routed to the fanout queue {self._fanout[queue]}: each worker runs it once"
            )
        if one.task.rate_limit and any(act.outside for act in reading.acts):
            yield Remark(f"rate_limit {one.task.rate_limit} counts each return from a wait too")
        limited = one.task.time_limit or one.task.soft_time_limit
        if limited and Kind.WAIT in reading.kinds:
            yield Remark(
                f"its time limit of {limited} s holds for each stay in the pool, no longer for "
                "the waits between them"
            )


def options_of(one: Registered) -> dict[str, str]:
    """What a task was given beside Celery's defaults."""
    task, found = one.task, {}
    own = {
        name: value
        for cls in type(task).__mro__
        if not cls.__module__.startswith("celery.") and cls is not object
        for name, value in vars(cls).items()
    }
    # What the app is configured with stands on every task's class as well.
    given = {name: getattr(task.app.conf, theirs, None) for name, theirs in Task.from_config}
    if one.decorated_at is not None and one.bound:
        found["bind"] = "True"
    bases = [cls for cls in type(task).__mro__[1:] if _is_own(cls) and cls is not task.app.Task]
    if bases:
        found["base"] = _named(bases[0])
    for name in _OPTIONS:
        value = own.get(name)
        if value is None or value is False or value == given.get(name):
            continue
        found[name] = _shown(value)
    if _is_pydantic(one):
        found["pydantic"] = "True"
    return found


def _shown(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(getattr(one, "__name__", repr(one)) for one in value)
    return str(value)


def _named(cls: type) -> str:
    return cls.__qualname__.rpartition("<locals>.")[2]


def _is_own(cls: type) -> bool:
    """Whether a class is a task class that a shop wrote."""
    module = cls.__module__.partition(".")[0]
    return issubclass(cls, Task) and module not in ("celery", "resonate_amqp")


def _is_pydantic(one: Registered) -> bool:
    if getattr(one.task, "_dump_pydantic_arguments", None) is not None:
        return True
    if one.place is None or one.decorated_at is None:
        return False
    given = keyword(one.place.node.decorator_list[one.decorated_at], "pydantic")
    return isinstance(given, ast.Constant) and given.value is True


def _unread(one: Registered, project: Project) -> str:
    if not one.path:
        return (
            "its source cannot be read, since it is no function of a Python file; install(app) "
            "records what is called durably, without a change to the task"
        )
    return (
        f"it belongs to an installed package ({one.path}); install(app) records what is called "
        "durably, without a change to the task"
    )


def _signature(func: Any) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(func).parameters)
    except (TypeError, ValueError):
        return {}


def _unfit_arguments(func: Any, pydantic: bool) -> Iterator[tuple[str, str]]:
    """The arguments whose annotation or default says that no JSON carries them."""
    hints = _hints(func)
    for name, parameter in _signature(func).items():
        if isinstance(parameter.default, set | frozenset):
            yield name, "is a set unless it is given, which JSON does not carry: take a list"
            continue
        for kind in _classes_of(hints.get(name)):
            if issubclass(kind, set | frozenset):
                yield name, "is a set, which JSON does not carry: take a list"
            elif not pydantic and _is_record(kind):
                yield (
                    name,
                    f"is a {kind.__name__}, which JSON does not carry: take its id, and read it "
                    "in the task",
                )


def _of_result(one: Registered) -> Iterator[Remark]:
    """What a task answers, where its annotation says that no JSON carries it."""
    for kind in _classes_of(_hints(one.func).get("return")):
        if issubclass(kind, set | frozenset) or (_is_record(kind) and not _is_pydantic(one)):
            yield Remark(
                f"it answers a {kind.__name__}, which JSON does not carry: answer a list, an id "
                "or a dict"
            )


def _hints(func: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(func)
    except Exception:  # an annotation may name what is only imported for types
        return {}


def _classes_of(hint: Any) -> Iterator[type]:
    """The classes in an annotation; those of a union's members too."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        for one in typing.get_args(hint):
            yield from _classes_of(one)
    elif isinstance(origin or hint, type):
        yield origin or hint


def _is_record(kind: type) -> bool:
    """Whether a class is of a model: one that a database or a library for data made."""
    marks = ("_meta", "__table__", "__tablename__", "__mapper__", "model_fields", "objects")
    return any(hasattr(kind, mark) for mark in marks) or hasattr(kind, "__dataclass_fields__")


def _of_classes(task: Task) -> Iterator[Remark]:
    """What a shop's own base class does around a task."""
    for cls in type(task).__mro__:
        if not _is_own(cls) or (cls is type(task) and getattr(task, "_decorated", False)):
            continue
        hooks = [name for name in _HOOKS if name in vars(cls)]
        if "__call__" in hooks:
            yield Remark(
                f"the class {_named(cls)} has a __call__, which stands around the durable "
                "function: it runs again at each return from a wait, and must let a BaseException "
                "through, by which a task leaves to wait"
            )
        if others := [name for name in hooks if name != "__call__"]:
            yield Remark(
                f"the class {_named(cls)} has {', '.join(others)}: "
                f"{'it is' if len(others) == 1 else 'they are'} called by each worker that "
                "takes its message, not once per promise"
            )


def _of_nodes(place: Place) -> Iterator[Remark]:
    """What a function asks of Celery that means something else once it is durable."""
    for node in own_nodes(place.node):
        if not isinstance(node, ast.Call):
            continue
        name = place.source.dotted(node.func)
        named = {one.arg for one in node.keywords}
        if name == "self.retry" and named & {"args", "kwargs"}:
            yield Remark(
                "self.retry(args=…, kwargs=…) runs again with the new arguments, under the same "
                "promise: if you give id=, it must not be made of what changes",
                node.lineno,
            )
        elif name.endswith("celery.exceptions.Reject"):
            yield from _of_reject(node)
        elif name.endswith("celery.exceptions.Ignore"):
            yield Remark(
                "Ignore is no outcome: the promise stays open until its deadline, and whoever "
                "awaits it waits; return a value instead",
                node.lineno,
            )


def _of_reject(call: ast.Call) -> Iterator[Remark]:
    requeue = keyword(call, "requeue") or next(iter(call.args[1:2]), None)
    if isinstance(requeue, ast.Constant) and requeue.value is True:
        yield Remark(
            "Reject(requeue=True) is no outcome: the message runs again at once, and counts "
            "against the delivery limit of a quorum queue; self.retry(countdown=…) waits",
            call.lineno,
        )
        return
    yield Remark(
        "Reject(requeue=False) is an outcome: the promise is rejected. A message that comes back "
        "from a dead-letter queue is the next attempt (ID.attempt-2)",
        call.lineno,
    )
