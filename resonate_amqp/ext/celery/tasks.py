"""`DurableTask`: a base class that makes every task of it durable."""

from __future__ import annotations

from typing import Any, ClassVar

from celery import Task
from celery.utils.functional import head_from_fun

from resonate_amqp.ext.celery.configuring import of_app
from resonate_amqp.ext.celery.durable import made_durable
from resonate_amqp.ext.celery.made import OWN, Named, made_in
from resonate_amqp.resonate import Resonate


class DurableTask(Task):
    """As `@durable`, for `@app.task(base=DurableTask)`, `task_cls=DurableTask` or a class.

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
