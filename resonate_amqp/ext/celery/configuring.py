"""Configuring: a Resonate made of what a Celery app is configured with.

Each setting of Resonate may stand in the app's configuration as `resonate_<name>`, with Django's
usual namespace as `CELERY_RESONATE_<NAME>`. It is read between the argument and the environment.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from celery import Celery

from resonate_amqp.errors import UsageError
from resonate_amqp.resonate import Resonate
from resonate_amqp.resonate.kombu_urls import url_of as url_of_connection
from resonate_amqp.settings import PREFIX as ENVIRONMENT
from resonate_amqp.settings import Settings

PREFIX = "resonate_"
AMQP = ("amqp", "amqps", "pyamqp", "librabbitmq")
KNOWN = {field.name: field for field in dataclasses.fields(Settings)}

_lock = threading.Lock()
_of_apps: WeakKeyDictionary[Celery, Resonate] = WeakKeyDictionary()


def from_celery(app: Celery, **settings: Any) -> Resonate:
    """A Resonate with the app's broker and its `resonate_*` settings.

    A setting is taken from the arguments, else from `app.conf`, else from the environment; the
    url, if nothing names one, is the app's `broker_url`. Call it after the app was configured.
    Raises UsageError for a `resonate_*` setting that is not known.
    """
    given = dict(configured(app)) | {
        name: value for name, value in settings.items() if value is not None
    }
    if "url" not in given and ENVIRONMENT + "URL" not in os.environ:
        given["url"] = broker_url(app)
    return Resonate(**given)


def url_of(app: Celery) -> str:
    """The broker that `from_celery` chooses when no argument does; empty if there is none."""
    named = dict(configured(app)).get("url") or os.environ.get(ENVIRONMENT + "URL")
    return named or broker_url(app)


def of_app(app: Celery) -> Resonate:
    """The Resonate of an app whose tasks name none of their own."""
    with _lock:
        found = _of_apps.get(app)
        if found is None:
            found = _of_apps[app] = from_celery(app)
        return found


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
    """The app's brokers as one url, with their TLS; empty when it uses another transport."""
    connection = app.connection_for_write()
    if connection.as_uri().partition("://")[0] not in AMQP:
        return ""
    return url_of_connection(connection)


def _fitting(key: str, value: Any, field: dataclasses.Field[Any]) -> Any:
    kind = type(field.default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UsageError(f"the Celery setting {key}={value!r} must be of type {kind.__name__}")
    return value
