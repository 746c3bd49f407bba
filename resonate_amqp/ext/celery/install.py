"""`install`: an app's tasks as they are, for those who call them durably."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from celery import Celery, Task, current_app, signals

from resonate_amqp.ext.celery.configuring import itself, of_app
from resonate_amqp.ext.celery.durable import call_of, perform
from resonate_amqp.ext.celery.made import MARK, OWN, Made, asked_for, made_of
from resonate_amqp.ext.celery.shapes import Shape
from resonate_amqp.ext.celery.tracing import NOT_FORKED, enclose_anew
from resonate_amqp.ext.celery.workers import prepare
from resonate_amqp.resonate import Resonate


def install(app: Celery, resonate: Resonate | None = None) -> None:
    """Have the app's workers run durably what durable functions call by `celery://QUEUE`.

    Such a call is recorded with its result, retry, failure, revocation or time limit, runs once,
    and is acknowledged late. Every other message of the app's tasks is treated as ever. Without
    a `resonate`, one is made of the app's configuration. The app may be `current_app`, which is
    the one whose worker starts.
    """

    def before_any_message(starting: Celery) -> None:
        if starting is itself(app):
            _wrap(starting, resonate)

    def in_a_new_process(sender: str, **_: Any) -> None:
        # One that was not forked has imported the tasks anew, into an app of its own.
        if NOT_FORKED in os.environ:
            own = current_app._get_current_object()
            for task, made in _wrap(own, resonate):
                enclose_anew(task, made, sender)

    prepare(before_any_message)
    uid = f"resonate_amqp.install.{id(app)}"
    signals.worker_process_init.connect(in_a_new_process, weak=False, dispatch_uid=uid)


def _wrap(app: Celery, resonate: Resonate | None) -> list[tuple[Task, Made]]:
    """Wrap what is not wrapped yet."""
    wrapped = []
    for name, task in list(app.tasks.items()):
        if name.startswith(OWN) or made_of(task) is not None:
            continue
        # Celery's own wrapper for `autoretry_for` stays outside.
        where = "_orig_run" if hasattr(task, "_orig_run") else "run"
        setattr(task, where, _asked(task, getattr(task, where), resonate))
        wrapped.append((task, getattr(getattr(task, where), MARK)))
    return wrapped


def _asked(task: Task, func: Callable[..., Any], resonate: Resonate | None) -> Callable[..., Any]:
    """The task's function, run durably for a message that names a promise."""
    made = Made(
        Shape(func, None, generator=False), lambda one: resonate or of_app(one.app), asked_only=True
    )

    @functools.wraps(func)
    def run(*args: Any, **kwargs: Any) -> Any:
        request = task.request
        if request.called_directly or request.get("resonate_claims") or not asked_for(request):
            return func(*args, **kwargs)
        return perform(partial(call_of, made, task, request, args, kwargs), task, request)

    setattr(run, MARK, made)
    return run
