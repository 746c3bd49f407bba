"""Task classes: `DurableTask` beside the app's own, and `@durable` in classes of the app's own."""

from __future__ import annotations

import abc
import contextvars
import os
import subprocess
import sys
from collections.abc import Generator
from typing import Any

import pytest
from celery import Celery, Task

from resonate_amqp import Context
from resonate_amqp.ext.celery import DurableTask, durable
from resonate_amqp.ext.celery.configuring import of_app
from resonate_amqp.ext.celery.made import made_of

entered: contextvars.ContextVar[str] = contextvars.ContextVar("entered", default="outside")


class OwnTask(Task):
    """As Flask's documentation writes it: each task runs within something."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        token = entered.set("inside")
        try:
            return self.run(*args, **kwargs)
        finally:
            entered.reset(token)

    def hello(self) -> str:
        return f"hello from {self.name}"


def app_with(task_cls: Any = None) -> Celery:
    return Celery("bases", broker="memory://", task_cls=task_cls, set_as_current=False)


def where(ctx: Context) -> Generator[Any, Any, str]:
    yield ctx.sleep(0)
    return entered.get()


def applied(task: Any, *args: Any) -> Any:
    """What a task comes to; it has to be durable."""
    assert made_of(task) is not None
    return task.apply(args).get()


def test_a_base_class_of_ours_joins_the_app_s_own() -> None:
    app = app_with(OwnTask)
    task: Any = app.task(shared=False, base=DurableTask, name="where")(where)
    assert applied(task) == "inside"
    assert task.hello() == "hello from where"
    assert isinstance(task, DurableTask)
    assert isinstance(task, app.Task)


def test_it_joins_a_class_that_was_put_in_the_place_of_the_app_s() -> None:
    app = app_with()

    class ContextTask(app.Task):  # type: ignore[name-defined]  # a class made at run time
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            token = entered.set("inside")
            try:
                return self.run(*args, **kwargs)
            finally:
                entered.reset(token)

    app.Task = ContextTask
    task: Any = app.task(shared=False, base=DurableTask, name="where")(where)
    assert applied(task) == "inside"


@pytest.mark.parametrize("bases", [(DurableTask, OwnTask), (OwnTask, DurableTask)])
@pytest.mark.parametrize("task_cls", [None, OwnTask, DurableTask])
@pytest.mark.parametrize("given_as", ["base", "task_cls"])
def test_a_class_of_both_is_a_base_or_the_app_s_task_class(
    bases: tuple[type, type], task_cls: Any, given_as: str
) -> None:
    both = type("Both", bases, {"abstract": True})
    app = app_with(task_cls if given_as == "base" else both)
    options = {"base": both} if given_as == "base" else {}
    task: Any = app.task(shared=False, name="where", **options)(where)
    assert applied(task) == "inside"
    assert task.hello() == "hello from where"


def test_a_base_that_the_app_s_class_is_made_of_adds_nothing() -> None:
    class Ours(DurableTask):
        abstract = True
        promise_id = staticmethod(lambda order: f"order-{order}")

    app = app_with(Ours)
    task: Any = app.task(shared=False, base=DurableTask, name="echo")(echo)
    assert isinstance(task, Ours)
    made = made_of(task)
    assert made is not None
    assert made.named is not None
    assert made.named("7") == "order-7"


def echo(order: str) -> str:
    return order


def test_a_task_class_may_have_abstract_methods() -> None:
    class Named(abc.ABC):
        @abc.abstractmethod
        def label(self) -> str: ...

    class Pack(DurableTask, Named):
        name = "pack"

        def run(self, order: str) -> str:
            return f"{self.label()} {order}"

        def label(self) -> str:
            return "packed"

    app = app_with()
    assert applied(app.register_task(Pack()), "7") == "packed 7"


def test_what_a_class_inherits_as_run_is_durable_too() -> None:
    class Plain(Task):
        name = "plain"

        def run(self, order: str) -> str:
            return f"plain {order}"

    class Safe(DurableTask, Plain):
        name = "safe"

    class Safest(Safe):
        name = "safest"

    app = app_with()
    plain, safe, safest = (app.register_task(one()) for one in (Plain, Safe, Safest))
    assert made_of(plain) is None
    assert applied(safe, "7") == applied(safest, "7") == "plain 7"
    assert made_of(safest) is made_of(safe)


def test_the_run_of_a_class_is_made_durable_by_the_decorator() -> None:
    class Pay(OwnTask):
        name = "pay"

        @durable()
        def run(self, ctx: Context, order: str) -> Generator[Any, Any, str]:
            yield ctx.sleep(0)
            return f"{self.name} {order} {entered.get()}"

    app = app_with()
    task = app.register_task(Pay())
    assert applied(task, "7") == "pay 7 inside"
    made = made_of(task)
    assert made is not None
    assert made.source(task) is of_app(app)


SHARED = """
from celery import Celery, shared_task
from resonate_amqp.ext.celery import DurableTask, durable
from resonate_amqp.ext.celery.configuring import of_app
from resonate_amqp.ext.celery.made import made_of
from tests.ext.celery.test_bases import OwnTask, where

based = shared_task(name="based", base=DurableTask)(where)
decorated = shared_task(name="decorated")(durable()(where))
one = Celery("one", broker="memory://", task_cls=OwnTask)
other = Celery("other", broker="memory://")
for app, place in ((one, "inside"), (other, "outside")):
    app.set_current()
    for name, proxy in (("based", based), ("decorated", decorated)):
        assert app.tasks[name].apply().get() == proxy.apply().get() == place
        assert made_of(app.tasks[name]).source(app.tasks[name]) is of_app(app)
"""


DJANGO = """
from celery import Celery, shared_task
from resonate_amqp.ext.celery import DurableTask, durable

app = Celery("site", broker="memory://")
whole = Celery("whole", broker="memory://", task_cls=DurableTask)
named = Celery("named", broker="memory://", task_cls="resonate_amqp.ext.celery:DurableTask")

@shared_task(name="based", base=DurableTask)
def based(): return 1

@shared_task(name="decorated")
@durable()
def decorated(): return 1

for task in (based, decorated, *(one.tasks["based"] for one in (app, whole, named))):
    assert task.delay_on_commit and task.apply_async_on_commit
    assert task.apply().get() == 1
"""


def run(program: str, **environment: str) -> None:
    """Shared tasks are tasks of every app in a process, so they get one of their own."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_a_shared_task_has_the_resonate_and_the_class_of_each_app() -> None:
    run(SHARED)


def test_django_s_delay_on_commit_stays() -> None:
    run(DJANGO, DJANGO_SETTINGS_MODULE="django.conf.global_settings")
