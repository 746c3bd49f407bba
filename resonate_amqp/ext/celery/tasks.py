"""`DurableTask`: a base class that makes every task of it durable."""

from __future__ import annotations

from typing import Any, ClassVar

from celery import Task
from celery.utils.functional import head_from_fun

from resonate_amqp.ext.celery.configuring import of_app
from resonate_amqp.ext.celery.durable import made_durable
from resonate_amqp.ext.celery.made import MARK, OWN, Named
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
        run = cls.__dict__.get("run")
        if run is None or str(cls.__dict__.get("name") or "").startswith(OWN):
            return
        free = isinstance(run, staticmethod)
        func = run.__func__ if isinstance(run, staticmethod) else run
        if hasattr(func, MARK):
            return
        named = cls.promise_id
        durable = made_durable(func, _resonate_of, named)
        cls.run = staticmethod(durable) if free else durable
        cls.__wrapped__ = cls.run
        if "__header__" in cls.__dict__:
            cls.__header__ = staticmethod(head_from_fun(durable, bound=not free))


def _resonate_of(task: Task) -> Resonate:
    return task.resonate or of_app(task.app)
