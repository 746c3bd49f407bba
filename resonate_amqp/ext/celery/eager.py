"""Eager: durable tasks without a worker, for `task_always_eager` and `.apply()`.

They run in the caller's thread, and are recorded by an embedded broker and ledger. What they call
by `celery://` is another task of the app, run eagerly as well; anything else has to be registered
in this process.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from celery import Celery, current_app
from celery.result import EagerResult

from resonate_amqp.core.model import origin_of
from resonate_amqp.errors import RemoteError, UnknownFunction
from resonate_amqp.ext.celery.claims import Call
from resonate_amqp.ext.celery.execution import body_of, execute
from resonate_amqp.ext.plain import flatten, rebuild
from resonate_amqp.resonate import Resonate
from resonate_amqp.runtime.commands import Invoke
from resonate_amqp.runtime.context import Context
from resonate_amqp.wire.address import CELERY, foreign_id

NESTED = "resonate:eager"
"""The function by which an eager task calls another one."""
FOR_EVER_S = 1e9

_lock = threading.Lock()
_systems: WeakKeyDictionary[Celery, WeakKeyDictionary[Resonate, Resonate]] = WeakKeyDictionary()


def perform(call: Call) -> Any:
    """Run a durable task in this thread until it has an outcome."""
    resonate = _embedded(call.task.app, call.resonate)
    return execute(
        replace(call, resonate=resonate),
        target=resonate.settings.group,
        message=None,
        patient=True,
        prepare=partial(_redirect, call.task.app, resonate),
    )


def forget_eager(app: Celery | None = None) -> None:
    """Forget what the tasks of an app came to that were run eagerly; for the end of a test.

    The records of eager tasks last as long as the process, and a test that is rolled back uses the
    ids of the one before: without this, a task with `id=` returns what that one came to. Without
    an `app` it is the current one.
    """
    eager: Celery = current_app._get_current_object() if app is None else app
    with _lock:
        systems = _systems.pop(eager, WeakKeyDictionary())
    for resonate, found in list(systems.items()):
        if found is resonate:
            resonate.move(resonate._system)
        else:
            found.stop()


def _embedded(app: Celery, resonate: Resonate) -> Resonate:
    """The part of an embedded system that stands for a Resonate, with the same functions."""
    with _lock:
        of_app = _systems.setdefault(app, WeakKeyDictionary())
        found = of_app.get(resonate)
        if found is None:
            found = of_app[resonate] = resonate if resonate.embedded else _twin(resonate)
            if found.registry.find(NESTED) is None:
                found.registry.register(_Nested(app).run, name=NESTED)
        return found


def _twin(resonate: Resonate) -> Resonate:
    settings = resonate.settings
    twin = Resonate(
        "",
        ledger="",
        group=settings.group,
        timeout=settings.timeout,
        threads=settings.threads,
        park_after=FOR_EVER_S,
        hold_max=FOR_EVER_S,
    )
    # What is registered or set later counts here as well.
    twin._registry, twin._dependencies = resonate._registry, resonate._dependencies
    return twin


def _redirect(app: Celery, resonate: Resonate, ctx: Context) -> None:
    """Have what a step asks for done in this process; raises UnknownFunction where it cannot be."""
    for command in (*ctx.unissued(), *ctx._compensations):
        if not isinstance(command, Invoke) or command.local or command.name == NESTED:
            continue
        kind, marked, _ = (command.target or "").partition("://")
        if marked and kind == CELERY:
            _check_task(app, command.name)
            command.args = command.name, list(command.args), command.kwargs
            command.func, command.kwargs = NESTED, {}
            command.target, command.version = resonate.settings.group, 0
        elif resonate.registry.find(command.name) is None and not callable(command.func):
            raise UnknownFunction(
                f"{ctx.id!r} runs eagerly and calls {command.name!r} at {command.target}, which "
                "is in another process; register a function of that name here for the test, or "
                "let a worker run the task"
            )


def _check_task(app: Celery, name: str) -> None:
    if name not in app.tasks:
        raise UnknownFunction(
            f"task {name!r} is not registered in the app {app.main!r}; import the module that "
            "defines it, or name it as Celery does: package.module.function"
        )


class _Nested:
    """Runs an app's tasks eagerly for the durable task that calls them."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    async def run(self, ctx: Context, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        work = partial(self._applied, name, args, kwargs, foreign_id(ctx.id))
        body = body_of(ctx, origin_of(ctx.id))
        # A detached call outlives the thread that began it.
        return await (asyncio.to_thread(work) if body is None else body.aside(work))

    def _applied(self, name: str, args: list[Any], kwargs: dict[str, Any], task_id: str) -> Any:
        _check_task(self._app, name)
        task = self._app.tasks[name]
        given = rebuild(args, "args"), rebuild(kwargs, "kwargs")
        result: EagerResult = task.apply(*given, task_id=task_id, throw=False)
        if result.successful():
            return flatten(result.result, "result")
        if isinstance(result.result, Exception):
            raise result.result
        raise RemoteError(f"task {name!r} left without a result", str(result.state))
