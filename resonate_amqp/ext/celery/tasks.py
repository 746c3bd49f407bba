"""`DurableTask`: a base class that makes every task of it durable."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Mapping
from typing import Any, ClassVar

from celery import Celery, Task
from celery.fixups.django import DjangoFixup
from celery.utils.functional import head_from_fun
from celery.utils.imports import symbol_by_name

from resonate_amqp.ext.celery.configuring import of_app
from resonate_amqp.ext.celery.durable import made_durable
from resonate_amqp.ext.celery.made import OWN, Named, made_in
from resonate_amqp.resonate import Resonate

DJANGO = "celery.contrib.django.task:DjangoTask"
"""The task class that Celery gives an app of a Django project which names none."""


def _own_class(namespace: Mapping[str, Any]) -> type | None:
    """The task class that Celery would have used but for the one it was given."""
    own: type | None = None
    app, making = namespace.get("app"), namespace.get("_app")
    if isinstance(app, Celery):
        own = app.Task
    elif isinstance(making, Celery) and any(
        isinstance(one, DjangoFixup) for one in making._fixups or ()
    ):
        own = symbol_by_name(DJANGO)
    return own


class Joining(ABCMeta):
    """Has `DurableTask` stand beside an app's own task class, where Celery has it replace that.

    What Celery makes of a function is a class with the `app` in it, and a `base=` that was given
    instead of `app.Task`. A class that is to be `app.Task` has the app as `_app`.
    """

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any
    ) -> Joining:
        own = _own_class(namespace)
        if own is not None and not any(issubclass(base, own) for base in bases):
            bases = (*(base for base in bases if not issubclass(own, base)), own)
        return super().__new__(mcs, name, bases, namespace, **kwargs)


class DurableTask(Task, metaclass=Joining):
    """As `@durable`, for `@app.task(base=DurableTask)`, `task_cls=DurableTask` or a class.

    As a `base=` it is joined with the app's own task class, so that what that one adds stays.
    `resonate` is the Resonate of its tasks; without one it is made of the app's configuration.
    `promise_id` makes a promise's id of the arguments, where it is not to be the task's.
    """

    abstract = True
    resonate: ClassVar[Resonate | None] = None
    promise_id: ClassVar[Named | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        run = _run_of(cls)
        if run is None or str(cls.__dict__.get("name") or "").startswith(OWN):
            return
        free = isinstance(run, staticmethod)
        func = run.__func__ if isinstance(run, staticmethod) else run
        if made_in(func) is not None:
            return
        named = cls.promise_id
        durable = made_durable(func, _resonate_of, named)
        cls.run = staticmethod(durable) if free else durable
        cls.__wrapped__ = cls.run
        if "__header__" in cls.__dict__:
            cls.__header__ = staticmethod(head_from_fun(durable, bound=not free))


def _run_of(cls: type[Task]) -> Any:
    """The function that a class's tasks run, its own or inherited; None for Celery's stub."""
    for one in cls.__mro__:
        if "run" in vars(one):
            return None if one is Task else vars(one)["run"]
    return None


def _resonate_of(task: Task) -> Resonate:
    return task.resonate or of_app(task.app)
