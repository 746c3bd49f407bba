"""Tracing: what Celery's tracer calls of a durable task, outside of everything the shop wrote.

The tracer calls a task's own `__call__`, where its class has one. In a worker each durable task
gets a class of its own for that: decorators, the task class's `__call__` and Celery's retries are
inside of it. So what a task leaves by becomes Ignore or Reject only after it has passed them.
"""

from __future__ import annotations

import copy
import logging
import os
import socket
from typing import Any

from celery import Task
from celery.app.task import Context as Request
from celery.app.trace import build_tracer, task_has_custom
from celery.states import STARTED

from resonate_amqp.ext.celery.made import Made

log = logging.getLogger(__name__)

NOT_FORKED = "FORKED_BY_MULTIPROCESSING"
"""The environment variable by which Celery knows a pool's process that billiard spawned."""

VERSION_HEADER = "resonate:version"
"""How often the task was taken when the ledger sent this message of it."""


class Traced:
    """The outermost class of a durable task in a worker."""

    resonate_made: Made
    resonate_custom_call: bool
    resonate_track_started: bool

    def __init_subclass__(cls, **_: Any) -> None:
        """Does not call the `__init_subclass__` of the shop's task classes."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        task: Any = self
        called: Any = super().__call__  # type: ignore[misc]  # a task's class follows
        request = task.request_stack.top
        if request is None or request.called_directly or request.get("resonate_traced"):
            return called(*args, **kwargs)
        request.update(resonate_traced=True, resonate_left=None)
        if not self.resonate_custom_call:
            # What calls the task as a function meanwhile is no message.
            request.update(_protected=1)
        if self.resonate_made.concerns(request):
            # Decorators may change what they are given; what the message held is recorded.
            kept = _copied(args=request.args, kwargs=request.kwargs)
            request.update(kept, resonate_given=args)
        else:
            store_started(task, request)
        try:
            result = (called if self.resonate_custom_call else task.run)(*args, **kwargs)
        except BaseException:
            if request.get("resonate_left") is None:
                raise
        else:
            if request.get("resonate_left") is None:
                return result
        # Whatever the shop's code made of it: there is no outcome.
        raise request.resonate_left


def enclose(task: Task, made: Made) -> None:
    """Give a worker's durable task its outermost class; nothing if it has it."""
    if is_enclosed(task):
        return
    own = type(task)
    attributes = {
        "__module__": own.__module__,
        "__qualname__": own.__qualname__,
        "__doc__": own.__doc__,
        "resonate_made": made,
        "resonate_custom_call": bool(task_has_custom(task, "__call__")),
        "resonate_track_started": bool(task.track_started),
    }
    # Not by calling the metaclass: the shop's may keep a list of its task classes.
    task.__class__ = type.__new__(type(own), own.__name__, (Traced, own), attributes)
    # The tracer would store it each time that the task comes back.
    task.track_started = False


def enclose_anew(task: Task, made: Made, hostname: str) -> None:
    """As `enclose`, in a process of a pool that has built its tracers already."""
    if not is_enclosed(task):
        enclose(task, made)
        app = task.app
        task.__trace__ = build_tracer(task.name, task, app.loader, hostname, app=app)


def is_enclosed(task: Task) -> bool:
    """Whether a worker knows that a task is durable."""
    return issubclass(type(task), Traced)


def begins(task: Task, request: Request, taken: int) -> None:
    """A task's function begins: tell the result backend, if it does for the first time.

    A retry counts as another first time, as it does without us.
    """
    sent_again = int((request.headers or {}).get(VERSION_HEADER) or 0) > 0
    if sent_again or (taken > 1 and request.retries == 0):
        return
    try:
        store_started(task, request)
    except Exception:  # what a backend does is no outcome of the task
        log.exception("task %s[%s] could not be stored as started", task.name, request.id)


def _copied(**arguments: Any) -> dict[str, Any]:
    try:
        return copy.deepcopy(arguments)
    except Exception:  # what was pickled may be anything
        return arguments


def store_started(task: Task, request: Request) -> None:
    """What Celery stores when a task starts, where it was asked to."""
    if not getattr(task, "resonate_track_started", False) or request.is_eager:
        return
    asked = vars(request).get("ignore_result")
    if task.ignore_result if asked is None else asked:
        return
    meta = {"pid": os.getpid(), "hostname": request.hostname or socket.gethostname()}
    task.backend.store_result(request.id, meta, STARTED, request=request)
