"""Configuration: what of an app's settings durable tasks cannot live with, and what to know."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from celery import Celery
from kombu.common import Broadcast

from resonate_amqp.errors import ResonateError, UsageError
from resonate_amqp.ext.brokers import place_of_url
from resonate_amqp.ext.celery.configuring import broker_url, configured
from resonate_amqp.ext.celery.workers import GREEN
from resonate_amqp.ext.scanning.findings import Remark
from resonate_amqp.resonate.kombu_urls import SCHEMES
from resonate_amqp.settings import PREFIX, resolve

JSON = ("json", "application/json")


def facts(app: Celery) -> dict[str, str]:
    """The app's broker, queues and pool, in a line each; passwords are not shown."""
    found = {
        "broker": _shown(app),
        "pool": pool_of(app) or "prefork, unless the worker is told otherwise",
    }
    queues = [f"{name_of(one)}{_features(one)}" for one in queues_of(app)]
    return found | {"queues": ", ".join(queues)}


def warnings(app: Celery) -> list[Remark]:
    """What of the configuration to change or to know before a task is durable."""
    found = [*_of_broker(app), *_of_settings(app), *_of_content(app), *_of_queues(app)]
    if pool := pool_of(app):
        green = next((name for name in GREEN if name in pool), "")
        if green:
            found.append(
                f"worker_pool is {pool!r}: durable tasks do not run in it, since {green} replaces "
                "the threads they need; run theirs in workers with prefork, threads or solo"
            )
    if app.conf.worker_prefetch_multiplier != 1:
        found.append(
            f"worker_prefetch_multiplier is {app.conf.worker_prefetch_multiplier}: a task that "
            "comes back from a wait queues behind what one process has reserved; set it to 1"
        )
    return [Remark(text) for text in dict.fromkeys(found)]


def queues_of(app: Celery) -> list[Any]:
    """The queues that the app is configured with."""
    return sorted(app.amqp.queues.values(), key=name_of)


def is_fanout(queue: Any) -> bool:
    """Whether each worker gets a copy of what is sent to a queue."""
    return isinstance(queue, Broadcast) or getattr(queue.exchange, "type", "") == "fanout"


def name_of(queue: Any) -> str:
    """What a queue was called by whoever configured it."""
    # A Broadcast queue is named anew at each start; its exchange is what was configured.
    given = getattr(queue, "alias", None) or queue.exchange.name
    return str(given if isinstance(queue, Broadcast) else queue.name)


def pool_of(app: Celery) -> str:
    """The pool that the configuration names, where it is not the usual one."""
    pool = str(app.conf.worker_pool or "")
    return "" if pool == "prefork" else pool


def _of_broker(app: Celery) -> Iterator[str]:
    transport = _transport(app)
    if not app.conf.broker_url and not app.conf.broker_write_url and not _from_environment():
        yield (
            "no broker_url is set, so that Celery takes amqp://guest@localhost//: set it before "
            "durable tasks run, or scan with the variables that your workers have"
        )
        return
    if transport not in SCHEMES:
        yield (
            f"the broker is {transport}://, not RabbitMQ: a task that waits would leave by "
            "RabbitMQ and never come back; durable tasks need a broker_url of RabbitMQ"
        )
        return
    yield from _of_other_broker(app)


def _of_other_broker(app: Celery) -> Iterator[str]:
    """Whether Resonate is sent to another broker than the app."""
    try:
        named = dict(configured(app)).get("url")
        where = "resonate_url" if named else f"{PREFIX}URL"
        other = resolve(named or os.environ.get(f"{PREFIX}URL", ""))
        own = broker_url(app)
    except ResonateError as error:
        yield str(error)
        return
    if not other:
        return
    ours, theirs = place_of_url(own), place_of_url(other)
    if not (ours.vhosts & theirs.vhosts and ours.nodes & theirs.nodes):
        yield (
            f"{where} is {theirs.shown}, while the app's broker is {ours.shown}: tasks would "
            "leave for one and be waited for at the other; give both the same broker and vhost"
        )


def _of_settings(app: Celery) -> Iterator[str]:
    try:
        dict(configured(app))
    except UsageError as error:
        yield str(error)
    if app.conf.task_serializer not in JSON:
        yield (
            f"task_serializer is {app.conf.task_serializer!r}: arguments and results of durable "
            "tasks have to be what Kombu's JSON carries, such as dates, Decimal, UUID and bytes, "
            "but no sets and no objects of your own"
        )


def _of_content(app: Celery) -> Iterator[str]:
    accepted = sorted(str(one) for one in app.conf.accept_content or ())
    if not set(JSON) & set(accepted):
        yield (
            f"accept_content is {accepted}, without 'json': a worker would refuse the message "
            "with which a waiting task comes back, and calls of durable functions; add 'json'"
        )


def _of_queues(app: Celery) -> Iterator[str]:
    queues = queues_of(app)
    quorum = [name_of(one) for one in queues if _type(one) == "quorum"]
    if quorum:
        one = len(quorum) == 1
        yield (
            f"{', '.join(quorum)} {'is a quorum queue' if one else 'are quorum queues'}: "
            "RabbitMQ from 4.0 on drops or dead-letters a message after 20 rejects with requeue; "
            "set a policy with delivery-limit (-1: none), or a dead-letter exchange"
        )
    for queue in queues:
        if is_fanout(queue):
            yield (
                f"{name_of(queue)} is a Broadcast (fanout) queue: one message is one execution in "
                "each worker's queue; do not give id= to its tasks, or one worker alone runs it"
            )
        if _type(queue) == "stream":
            yield f"{name_of(queue)} is a stream: its messages are not settled one by one"


def _shown(app: Celery) -> str:
    connection = app.connection_for_write()
    return str(connection.as_uri()) + ("" if _transport(app) in SCHEMES else " (not RabbitMQ)")


def _transport(app: Celery) -> str:
    return str(app.connection_for_write().as_uri()).partition("://")[0]


def _from_environment() -> bool:
    return bool(os.environ.get("CELERY_BROKER_URL"))


def _type(queue: Any) -> str:
    return str((queue.queue_arguments or {}).get("x-queue-type") or "")


def _features(queue: Any) -> str:
    arguments: dict[str, Any] = queue.queue_arguments or {}
    found = [_type(queue)] if _type(queue) else []
    if is_fanout(queue):
        found.append("fanout")
    if (most := arguments.get("x-max-priority") or queue.max_priority) is not None:
        found.append(f"priorities to {most}")
    if arguments.get("x-dead-letter-exchange") is not None:
        found.append("dead-lettered")
    return f" ({', '.join(found)})" if found else ""
