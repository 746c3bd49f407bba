"""A shop that wraps its durable tasks: by decorators, a class's `__call__`, Celery's retries."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Any

import pydantic
from celery import Celery, Task, signals
from celery.contrib.abortable import AbortableTask

from resonate_amqp import Context
from resonate_amqp.ext.celery import durable, from_celery
from tests.scenarios.journal import own_journal

app = Celery("wrapping", broker=os.environ.get("SHOP_BROKER"), backend="rpc://")
app.conf.update(
    result_backend=os.environ.get("SHOP_RESULTS", "rpc://"),
    worker_pool_start_method=os.environ.get("SHOP_START", "fork"),
    worker_prefetch_multiplier=1,
    accept_content=["json", "pickle"],
    broker_connection_retry_on_startup=True,
    resonate_group="wrapping",
)
resonate = from_celery(app)
kept: dict[str, Callable[..., Any]] = {}

Func = Callable[..., Any]


def began(task: Task) -> None:
    name = task.name.rpartition(".")[2]
    own_journal().began(name, task.request.id)
    own_journal().pass_gate(name)


def named(name: str, **options: Any) -> Any:
    return app.task(name=f"{__name__}.{name}", bind=True, **options)


def falling_back(func: Func) -> Func:
    """As many shops have it: no `functools.wraps`, and nothing may fail."""

    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return func(*args, **kwargs)
        except Exception:
            return "fallback"

    return run


def wrapped(func: Func) -> Func:
    return functools.wraps(func)(falling_back(func))


def silencing(func: Func) -> Func:
    """It catches whatever there is."""

    @functools.wraps(func)
    def run(*args: Any, **kwargs: Any) -> Any:
        with contextlib.suppress(BaseException):
            return func(*args, **kwargs)
        return "silence"

    return run


def trying_again(func: Func) -> Func:
    @functools.wraps(func)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return func(*args, **kwargs)
        except Exception:
            return func(*args, **kwargs)

    return run


class Counting:
    """An object that keeps what it decorates."""

    def __init__(self, func: Func) -> None:
        self._func = functools.partial(falling_back(func))
        self.calls = 0

    def decorated(self) -> Func:
        def run(*args: Any, **kwargs: Any) -> Any:
            return self.call(*args, **kwargs)

        return run

    def call(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return self._func(*args, **kwargs)


def forgetting(func: Func) -> Func:
    """It keeps what it calls where nobody looks."""
    kept["forgotten"] = func

    def run(*args: Any, **kwargs: Any) -> Any:
        return kept["forgotten"](*args, **kwargs)

    return run


class Catching(Task):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except Exception:
            return "fallback"


def here(task: Task) -> str:
    return f"celery://{task.request.delivery_info['routing_key']}"


def waits(self: Task, ctx: Context, order: str) -> Generator[Any, Any, str]:
    began(self)
    charged = yield ctx.rfc(f"{__name__}.charge", order).options(target=here(self))
    return f"{self.name.rpartition('.')[2]}: {charged}"


@named("charge")
@durable(resonate)
def charge(self: Task, order: str) -> str:
    began(self)
    return f"charged {order}"


def once_more() -> Any:
    """The durable function anew: each task has its own."""
    return durable(resonate)(waits)


named("bare")(falling_back(once_more()))
named("wrapped")(wrapped(once_more()))
named("silenced")(silencing(once_more()))
named("object")(Counting(once_more()).decorated())
named("retried", autoretry_for=(Exception,), default_retry_delay=0)(wrapped(once_more()))
named("bare_retried", autoretry_for=(Exception,), max_retries=3)(once_more())
named("caught", base=Catching)(once_more())
named("forgotten")(forgetting(once_more()))


@named("insistent")
@trying_again
@durable(resonate)
def insistent(self: Task, order: str) -> str:
    began(self)
    raise KeyError(order)


@named("abortable", base=AbortableTask, track_started=True)
@durable(resonate)
def abortable(self: AbortableTask, ctx: Context, order: str) -> Generator[Any, Any, str]:
    began(self)
    charged = yield ctx.rfc(f"{__name__}.charge", order).options(target=here(self))
    return f"{charged}, aborted: {self.is_aborted()}"


tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


@signals.task_prerun.connect
def enter(task_id: str, **_: Any) -> None:
    tenant.set(f"the tenant of {task_id}")


def seen(_ctx: Context, name: str) -> list[Any]:
    """Where a local function runs, and what it sees there of what others have set."""
    was = tenant.get()
    tenant.set(name)
    return [was, threading.get_ident(), os.getpid()]


@named("local")
@durable(resonate)
def local(self: Task, ctx: Context, order: str) -> Generator[Any, Any, bool]:
    for step in ("one", "two"):
        first = yield ctx.lfi(seen, step)
        both = yield ctx.gather(first, ctx.lfc(seen, step))
        if ctx.ahead == 0 and step == "two":
            here_it_is = [f"the tenant of {self.request.id}", threading.get_ident(), os.getpid()]
            assert both == [here_it_is, here_it_is], both
        yield ctx.rfc(f"{__name__}.charge", order).options(target=here(self))
    return True


class Order(pydantic.BaseModel):
    number: int
    tags: set[str] = set()


@named("modelled", pydantic=True)
@durable(resonate)
def modelled(self: Task, ctx: Context, order: Order) -> Generator[Any, Any, list[Any]]:
    charged = yield ctx.rfc(f"{__name__}.charge", str(order.number)).options(target=here(self))
    return [charged, sorted(order.tags)]


@named("grown", pydantic=True)
@durable(resonate)
def grown(self: Task, order: Order) -> Order:
    return Order(number=order.number + 1, tags=order.tags)


def adding(func: Func) -> Func:
    """It changes what the message held."""

    @functools.wraps(func)
    def run(self: Task, order: dict[str, Any]) -> Any:
        order["session"] = object()
        return func(self, order, lock=threading.Lock())

    return run


@named("added_to")
@adding
@durable(resonate)
def added_to(
    self: Task, ctx: Context, order: dict[str, Any], lock: Any
) -> Generator[Any, Any, list[str]]:
    yield ctx.rfc(f"{__name__}.charge", "9").options(target=here(self))
    return sorted(order)


@named("tagged")
@durable(resonate)
def tagged(self: Task, order: dict[str, Any]) -> int:
    return len(order["tags"])
