"""A shop whose messages are rejected, repeated, copied and packed in every way."""

from __future__ import annotations

import functools
import json
import os
import zlib
from collections.abc import Callable, Generator
from typing import Any

from celery import Celery, Task
from celery.exceptions import Reject
from kombu import Exchange, Queue
from kombu.serialization import register

from resonate_amqp import Context
from resonate_amqp.ext.celery import durable, from_celery, install
from tests.scenarios.journal import own_journal

ACCEPTED = os.environ.get("KEPT_ACCEPTED", "json").split(",")
"""What workers accept, by the name of the serializer; tasks are sent in the first one."""


def pack(value: Any) -> bytes:
    return zlib.compress(json.dumps(value).encode())


def unpack(packed: bytes) -> Any:
    return json.loads(zlib.decompress(packed))


# In the place of msgpack, which is not always installed: its output is no text.
register("packed", pack, unpack, "application/x-packed", "binary")

news = Exchange("news", type="fanout")
loop = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "picky.wait"}
app = Celery("kept", broker=os.environ.get("SHOP_BROKER"))
app.conf.update(
    result_backend=os.environ.get("SHOP_RESULTS", "rpc://"),
    resonate_group=os.environ.get("KEPT_GROUP", "kept"),
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    accept_content=ACCEPTED,
    task_serializer=ACCEPTED[0],
    result_serializer="json",
    result_accept_content=["json"],
    task_compression="gzip" if "packed" in ACCEPTED else None,
    task_queues=[
        Queue("celery", Exchange("celery"), routing_key="celery"),
        Queue("picky", Exchange("amq.direct"), routing_key="picky", queue_arguments=loop),
        *(Queue(f"news-{number}", news) for number in (1, 2)),
        *(
            Queue(f"events-{number}", Exchange("events", type="topic"), routing_key="order.#")
            for number in (1, 2)
        ),
    ],
)
resonate = from_celery(app)


def began(task: Task, what: Any) -> None:
    name = task.name.rpartition(".")[2]
    own_journal().began(name, str(what))
    own_journal().pass_gate(name)
    own_journal().pass_gate(f"{name}-{what}")


@app.task(bind=True)
@durable(resonate)
def note(self: Task, what: str) -> str:
    began(self, what)
    return f"noted {what}"


def guarded_by_all_means(func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(func)
    def run(*args: Any) -> Any:
        try:
            return func(*args)
        except Exception:
            return "fallback"

    return run


@app.task(bind=True)
@guarded_by_all_means
@durable(resonate)
def guarded(self: Task, what: str) -> str:
    began(self, what)
    return f"noted {what}"


@app.task(bind=True)
@durable(resonate)
def fail(self: Task, what: str) -> None:
    began(self, what)
    raise LookupError(what)


@app.task(bind=True, max_retries=5)
@durable(resonate)
def counted(self: Task, number: int) -> int:
    """Each retry has another argument, as a poll for the next page has."""
    began(self, number)
    if number < 3:
        raise self.retry(args=(number + 1,), countdown=0)
    return number


@app.task(bind=True, max_retries=5)
@durable(resonate)
def turned(self: Task, host: str) -> str:
    """Each retry asks the other one of two hosts; the fourth time one answers."""
    began(self, host)
    if self.request.retries < 3:
        raise self.retry(args=("b" if host == "a" else "a",), countdown=0)
    return f"{host} answers"


@app.task(bind=True, max_retries=5)
@durable(resonate, id=lambda number, order: f"paged-{order}")
def paged(self: Task, ctx: Context, number: int, order: str) -> Generator[Any, Any, Any]:
    """A workflow whose retries have other arguments, and whose steps follow them."""
    seen = yield ctx.lfc(page, number)
    called = yield ctx.rfc(note.name, seen).options(target="celery://celery")
    if number < 2:
        raise self.retry(args=(number + 1, order), countdown=0)
    return [seen, called]


def page(ctx: Context, number: int) -> str:
    own_journal().began("page", str(number))
    return f"page-{number}"


@app.task
@durable(resonate)
def pages(ctx: Context) -> Generator[Any, Any, Any]:
    """Waits for a task that is retried with other arguments."""
    return (yield ctx.rfc(counted.name, 1).options(target="celery://celery"))


@app.task(bind=True)
@durable(resonate)
def picky(self: Task, what: str) -> str:
    began(self, what)
    deaths = (self.request.headers or {}).get("x-death", [])
    if sum(one["count"] for one in deaths if one["reason"] == "rejected") < 2:
        raise Reject("not yet", requeue=False)
    return f"picked {what}"


@app.task(bind=True)
@durable(resonate)
def stubborn(self: Task, what: str) -> str:
    began(self, what)
    if len(own_journal().runs("stubborn")) < 4:
        raise Reject("not yet", requeue=True)
    return f"taken {what}"


@app.task(bind=True)
@durable(resonate)
def counts(self: Task, ctx: Context, what: str) -> Generator[Any, Any, Any]:
    """Gives up after two rejections, which it counts after a wait as well."""
    began(self, what)
    yield ctx.rfc(note.name, what).options(target="celery://celery")
    deaths = (self.request.headers or {}).get("x-death", [])
    if sum(one["count"] for one in deaths if one["reason"] == "rejected") < 2:
        raise Reject("not yet", requeue=False)
    return f"given up {what}"


@app.task
@durable(resonate)
def waits(ctx: Context, what: str) -> Generator[Any, Any, Any]:
    noted = yield ctx.rfc("kept.far", what).options(target="poll://any@far")
    return f"waited: {noted}"


if "KEPT_INSTALL" in os.environ:

    @app.task
    def plain(what: str) -> str:
        return what

    install(app, resonate)
