"""Workers: what Celery's worker is told at its start, and what is heard of it later.

Everything here happens in the worker's main process, except that a pool's process lets go of its
connections when it ends.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from celery import Celery, Task, current_app, signals
from celery.app.task import Context as Request
from celery.exceptions import TaskRevokedError
from kombu.serialization import prepare_accept_content

from resonate_amqp.errors import ResonateError
from resonate_amqp.ext.brokers import check_same_broker, place_of_connection
from resonate_amqp.ext.celery import messages, reports
from resonate_amqp.ext.celery.configuring import check_rabbitmq
from resonate_amqp.ext.celery.made import Made, durable_tasks, made_of
from resonate_amqp.ext.celery.requests import late, reporting
from resonate_amqp.ext.celery.tracing import NOT_FORKED, enclose, enclose_anew
from resonate_amqp.resonate import Resonate

log = logging.getLogger(__name__)

REMEDY = (
    "Name one broker and virtual host for both: without RESONATE_AMQP_URL, resonate_url and url=, "
    "from_celery(app) takes the app's"
)
GREEN = ("gevent", "eventlet")

_preparations: list[Callable[[Celery], None]] = []


def prepare(preparation: Callable[[Celery], None]) -> None:
    """Have something done with a worker's app once all its tasks are known."""
    _preparations.append(preparation)
    connect()


def connect() -> None:
    """Listen to Celery's workers; once per process, however often it is called."""
    for name, signal, receiver in (
        ("init", signals.worker_init, _on_init),
        ("revoked", signals.task_revoked, _on_revoked),
        ("process-init", signals.worker_process_init, _on_process_init),
        ("process-shutdown", signals.worker_process_shutdown, _on_process_shutdown),
        ("shutdown", signals.worker_shutdown, _on_shutdown),
    ):
        signal.connect(receiver, weak=False, dispatch_uid=f"resonate_amqp.{name}")


def _on_init(sender: Any, **_: Any) -> None:
    """Before the worker makes anything of its tasks."""
    app: Celery = sender.app
    for preparation in _preparations:
        preparation(app)
    # Celery registers them in no order; what is wrong with one of them is to be said of the same.
    tasks = sorted(durable_tasks(app), key=lambda one: str(one[0].name))
    if not tasks:
        return
    _check_content(app, tasks)
    inline = "solo" in _checked_pool(sender)
    # At INFO, at which workers log, pika tells of each step of each connection.
    if not (pika := logging.getLogger("pika")).level:
        pika.setLevel(logging.CRITICAL)
    compared: set[Resonate] = set()
    for task, made in tasks:
        _check_broker(app, task, made, compared)
        # The message is the task's until its outcome is recorded.
        task.Request = (late if made.asked_only else reporting)(task, made, inline=inline)
        enclose(task, made)
        task.acks_late = True
        task.reject_on_worker_lost = not made.asked_only


def _check_content(app: Celery, tasks: list[tuple[Task, Made]]) -> None:
    """End a worker that would discard messages of its durable tasks unread."""
    accepted = prepare_accept_content(app.conf.accept_content) or set()
    if not accepted or messages.JSON_TYPE in accepted:
        return
    told = f"accept_content = {sorted(app.conf.accept_content)}"
    if messages.PICKLE in accepted:
        raise SystemExit(
            f"{told}: a durable task that waits does not come back as a pickle but in JSON, which "
            "this worker would discard; add 'json' to accept_content"
        )
    if any(made.asked_only for _, made in tasks):
        raise SystemExit(
            f"{told}: install(app) is for calls by celery://, which come in JSON and which this "
            "worker would discard; add 'json' to accept_content"
        )
    log.warning(
        "%s: tasks come back in their own form, but calls of them by celery:// come in JSON and "
        "are discarded by this worker; add 'json' to accept_content to take them",
        told,
    )


def _checked_pool(worker: Any) -> str:
    """The name of a worker's pool; ends the worker if durable tasks cannot run in it."""
    pool = worker.pool_cls
    kind = pool if isinstance(pool, str) else f"{pool.__module__}.{pool.__qualname__}"
    green = next((name for name in GREEN if name in kind), None)
    if green is not None:
        # A signal's receiver can end the worker by nothing less.
        raise SystemExit(
            f"durable tasks do not run in the {green} pool, which replaces the threads they need; "
            "start the worker with --pool prefork, threads or solo"
        )
    return kind


def _check_broker(app: Celery, task: Task, made: Made, compared: set[Resonate]) -> None:
    """End the worker if a task's Resonate is not on the broker that the worker takes tasks from.

    `compared` are those that are.
    """
    who = f"task {task.name!r} is {'installed' if made.asked_only else 'durable'}"
    try:
        # The settings are read here, before the pool's processes are made.
        resonate = made.source(task)
        url = resonate.broker_url()
        connection = app.connection_for_read()
        check_rabbitmq(connection, url)
        if not url:
            raise SystemExit(
                f"{who}, and its Resonate is embedded in this process; write @durable() or "
                "from_celery(app), which take the app's broker, or Resonate(url='amqp://…')"
            )
        if resonate not in compared:
            check_same_broker(place_of_connection(connection), url, REMEDY)
    except ResonateError as error:
        raise SystemExit(f"{who}: {error}") from error
    compared.add(resonate)


def _on_revoked(sender: Task, request: Request, terminated: bool, expired: bool, **_: Any) -> None:
    made = made_of(sender)
    if made is None or request is None:
        return
    why = "expired" if expired else "terminated" if terminated else "revoked"
    args, kwargs = tuple(request.args or ()), request.kwargs or {}
    reports.reject(made, sender, request, args, kwargs, TaskRevokedError(why))


def _on_process_init(sender: str, **_: Any) -> None:
    # One that was not forked has imported the tasks anew.
    if NOT_FORKED in os.environ:
        for task, made in durable_tasks(current_app._get_current_object()):
            enclose_anew(task, made, sender)


def _on_process_shutdown(**_: Any) -> None:
    _leave(current_app._get_current_object())


def _on_shutdown(sender: Any, **_: Any) -> None:
    reports.drain()
    _leave(sender.app)


def _leave(app: Celery) -> None:
    """Disconnect what an app's tasks ran with; what runs one again connects again."""
    for resonate in {made.source(task) for task, made in durable_tasks(app)}:
        resonate.move(resonate._system)
