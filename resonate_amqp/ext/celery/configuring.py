"""Configuring: a Resonate made of what a Celery app is configured with.

Each setting of Resonate may stand in the app's configuration as `resonate_<name>`, with Django's
usual namespace as `CELERY_RESONATE_<NAME>`. It is read between the argument and the environment,
and not before it is needed: a module of tasks may be imported before its app is configured.
"""

from __future__ import annotations

import dataclasses
import os
import weakref
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

from celery import Celery
from celery.local import Proxy

from resonate_amqp.brokers.rabbitmq.urls import shown
from resonate_amqp.errors import UsageError
from resonate_amqp.resonate import Resonate
from resonate_amqp.resonate.configured import Source
from resonate_amqp.resonate.kombu_urls import SCHEMES
from resonate_amqp.resonate.kombu_urls import url_of as url_of_connection
from resonate_amqp.settings import PREFIX as ENVIRONMENT
from resonate_amqp.settings import Settings

PREFIX = "resonate_"
IN_MEMORY = "memory"
KNOWN = {field.name: field for field in dataclasses.fields(Settings)}
BROKERS = ("broker_url", "broker_read_url", "broker_write_url")
"""The settings of Celery that name a broker; the environment has each as `CELERY_<NAME>`."""

_of_apps: WeakKeyDictionary[Celery, Resonate] = WeakKeyDictionary()


def from_celery(app: Celery, **settings: Any) -> Resonate:
    """A Resonate with the app's broker and its `resonate_*` settings.

    A setting is taken from the arguments, else from `app.conf`, else from the environment; the
    url, if nothing names one, is the app's `broker_url`. The app, which may be `current_app`, is
    read when a worker starts or at the first call, and may be configured until then. UsageError
    is raised then: for a `resonate_*` setting that is not known, for an app that names no broker,
    and for one whose broker is not RabbitMQ (with `memory://`, everything is embedded).
    """
    return _reading(lambda: app, **settings)


def url_of(app: Celery) -> str:
    """The broker that `from_celery` chooses when no argument does; raises UsageError as it does."""
    return from_celery(app).broker_url()


def of_app(app: Celery) -> Resonate:
    """The Resonate of an app whose tasks name none of their own."""
    found = _of_apps.get(app)
    # No lock, which a fork could leave held: two threads may make one, and both get what was kept.
    return found or _of_apps.setdefault(app, _reading(weakref.ref(app)))


def configured(app: Celery) -> Iterator[tuple[str, Any]]:
    """The settings of Resonate in an app's configuration; raises UsageError for unknown ones."""
    namespace = f"{app.namespace}_" if app.namespace else ""
    for key in set(app.conf.keys()):
        if not isinstance(key, str) or not key.startswith(namespace):
            continue
        name = key.removeprefix(namespace).lower()
        if not name.startswith(PREFIX):
            continue
        setting = name.removeprefix(PREFIX)
        if setting not in KNOWN:
            known = ", ".join(PREFIX + one for one in sorted(KNOWN))
            raise UsageError(f"the Celery setting {key} is not known; known are {known}")
        value = app.conf[name]
        if value is not None:
            yield setting, _fitting(key, value, KNOWN[setting])


def broker_url(app: Celery) -> str:
    """The app's brokers as one url, with their TLS; empty for `memory://`.

    Raises UsageError for an app that names no broker, or one that is not RabbitMQ.
    """
    if not _names_broker(app):
        raise UsageError(
            f"the Celery app {app.main or 'without a name'!r} names no broker, or is not "
            f"configured yet: {BROKERS[0]}, CELERY_BROKER_URL, {PREFIX}url and {ENVIRONMENT}URL "
            "are all missing; configure it before its Resonate is used, or write "
            "from_celery(app, url='amqp://…'). In threads, current_app is the app that called "
            "set_default()"
        )
    connection = app.connection_for_write()
    if transport(connection) == IN_MEMORY:
        return ""
    check_rabbitmq(connection)
    return url_of_connection(connection)


def transport(connection: Any) -> str:
    """The scheme of a Kombu connection's url."""
    return str(connection.as_uri()).partition("://")[0]


def check_rabbitmq(connection: Any, ours: str = "") -> None:
    """Raise UsageError for an app's connection that leads to no RabbitMQ.

    `ours` is where its Resonate is, if that is known.
    """
    if transport(connection) not in SCHEMES:
        where = f" (its Resonate is on {shown(ours)})" if ours else ""
        raise UsageError(
            f"the app's broker is {connection.as_uri()}, which is no RabbitMQ{where}; durable "
            "tasks come and go by the app's own broker, so set its broker_url to the RabbitMQ "
            "of the ledger"
        )


def _reading(app: Callable[[], Celery | None], **settings: Any) -> Resonate:
    def of() -> Celery:
        found = app()
        # It is asked for a task of the app, which keeps the app.
        assert found is not None
        return itself(found)

    source = Source(lambda: dict(configured(of())), lambda: broker_url(of()))
    return Resonate.lazily(source, **settings)


def itself(app: Celery) -> Celery:
    """The app that `current_app` stands for at this moment."""
    return app._get_current_object() if isinstance(app, Proxy) else app


def _names_broker(app: Celery) -> bool:
    # Without any of these Celery takes amqp://guest@localhost.
    named = (os.environ.get(f"CELERY_{name.upper()}") or app.conf.get(name) for name in BROKERS)
    return any(named) or bool(app.conf.get("broker_host") or app.conf.get("broker_transport"))


def _fitting(key: str, value: Any, field: dataclasses.Field[Any]) -> Any:
    kind = type(field.default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UsageError(f"the Celery setting {key}={value!r} must be of type {kind.__name__}")
    return value
