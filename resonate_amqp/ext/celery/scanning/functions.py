"""Functions: where the code of a registered task stands, below whatever wraps it."""

from __future__ import annotations

import ast
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import Celery, Task

from resonate_amqp.ext.scanning.decorators import name_of
from resonate_amqp.ext.scanning.sources import Place, Project

_TASK_DECORATORS = ("task", "shared_task", "periodic_task")


@dataclass(frozen=True, slots=True)
class Registered:
    """A task of an app; `place` is None when its source cannot be read or is not the project's."""

    task: Task
    func: Callable[..., Any]
    place: Place | None
    path: str

    @property
    def line(self) -> int:
        """Where its function is defined."""
        return self.place.node.lineno if self.place is not None else 0

    @property
    def bound(self) -> bool:
        """Whether it is given itself as its first argument."""
        return not isinstance(vars(type(self.task)).get("run"), staticmethod)

    @property
    def decorated_at(self) -> int | None:
        """Which of its decorators makes it a task."""
        return None if self.place is None else task_decorator(self.place)


def of_app(app: Celery, project: Project) -> list[Registered]:
    """Every task of an app, in the order of its files."""
    found = [_registered(task, project) for task in list(app.tasks.values())]
    return sorted(found, key=lambda one: (one.path, one.line, one.task.name))


def task_decorator(place: Place) -> int | None:
    """Which decorator of a function is Celery's, by its name."""
    for at, decorator in enumerate(place.node.decorator_list):
        if name_of(place, decorator).rpartition(".")[2] in _TASK_DECORATORS:
            return at
    return None


def _registered(task: Task, project: Project) -> Registered:
    func = getattr(task, "_orig_run", None) or task.run
    func = getattr(func, "__func__", func)
    place, path = None, ""
    for one in _unwrapped(func):
        func, path = one, _file_of(one)
        place = _place_of(one, project) if path else None
        if place is not None and task_decorator(place) is not None:
            break
    return Registered(task, func, place, project.shown(Path(path).resolve()) if path else "")


def _unwrapped(func: Any) -> Iterator[Any]:
    """A function and what it wraps, the innermost last.

    A wrapper without functools.wraps says nothing of what it wraps; it is what it encloses.
    """
    seen: set[int] = set()
    while func is not None and id(func) not in seen:
        seen.add(id(func))
        yield func
        wrapped = getattr(func, "__wrapped__", None)
        func = _enclosed(func) if wrapped is None else getattr(wrapped, "__func__", wrapped)


def _enclosed(func: Any) -> Any:
    cells = getattr(func, "__closure__", None) or ()
    held = []
    for cell in cells:
        try:
            held.append(cell.cell_contents)
        except ValueError:  # a name that is not bound yet
            continue
    functions = [one for one in held if isinstance(one, types.FunctionType)]
    return functions[0] if len(functions) == 1 else None


def _file_of(func: Any) -> str:
    code = getattr(func, "__code__", None)
    path = "" if code is None else str(code.co_filename)
    return path if Path(path).is_file() else ""


def _place_of(func: Any, project: Project) -> Place | None:
    path = Path(func.__code__.co_filename)
    source = project.source(path, str(func.__globals__.get("__name__", path.stem)))
    if source is None:
        return None
    return source.at(func.__code__.co_name, func.__code__.co_firstlineno)


def keyword(call: ast.expr, name: str) -> ast.expr | None:
    """What a call gives by a keyword."""
    given = call.keywords if isinstance(call, ast.Call) else []
    return next((one.value for one in given if one.arg == name), None)
