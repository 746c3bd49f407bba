"""Apps: the Celery app that MODULE:APP names, with all its tasks known."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from types import ModuleType
from typing import Any

from celery import Celery
from celery.local import Proxy

from resonate_amqp.ext.scanning.findings import NothingToScan


def load(where: str) -> tuple[Celery, str, str]:
    """The app, with the module and the name under which it was found.

    The current directory is looked in too, as `celery -A` does. What a module prints while it is
    imported goes to standard error. Raises NothingToScan when there is no such app.
    """
    with contextlib.redirect_stdout(sys.stderr):
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        module, _, attribute = where.partition(":")
        app, module, name = _found(_imported(module), attribute)
        _complete(app, where)
    return app, module, name


def _found(module: ModuleType, attribute: str) -> tuple[Celery, str, str]:
    if attribute:
        app = _app_in(module, attribute)
        if app is None:
            raise NothingToScan(_what_is(module, attribute))
        return app, module.__name__, attribute
    for name in ("app", "celery"):
        if (app := _app_in(module, name)) is not None:
            return app, module.__name__, name
    if hasattr(module, "__path__"):
        with contextlib.suppress(NothingToScan):
            return _found(_imported(f"{module.__name__}.celery"), "")
    for name in vars(module):
        if (app := _app_in(module, name)) is not None:
            return app, module.__name__, name
    raise NothingToScan(
        f"module {module.__name__!r} has neither a Celery app nor a Kombu consumer that can be "
        f"seen; write MODULE:APP, such as {module.__name__}:app"
    )


def _app_in(module: ModuleType, attribute: str) -> Celery | None:
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if isinstance(found, Proxy):
        found = found._get_current_object()
    return found if isinstance(found, Celery) else None


def _what_is(module: ModuleType, attribute: str) -> str:
    found = getattr(module, attribute.partition(".")[0], None)
    if found is None:
        return f"module {module.__name__!r} has no {attribute!r}; name its Celery app"
    made = "; write the name of what it answers" if callable(found) else ""
    return (
        f"'{module.__name__}:{attribute}' is of type {type(found).__name__}, not a Celery app{made}"
    )


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise NothingToScan(f"module {name!r} is not found; run this in its folder") from error
        raise NothingToScan(f"module {name!r} cannot be imported: {error}") from error
    except Exception as error:  # a module may raise anything while it is imported
        why = f"{type(error).__name__}: {error}"
        raise NothingToScan(
            f"module {name!r} cannot be imported: {why}; scan in the folder and with the variables "
            "that your workers have"
        ) from error


def _complete(app: Celery, where: str) -> None:
    """Import what has tasks, as a worker does, and have all of them bound."""
    try:
        app.loader.import_default_modules()
        app.finalize(auto=True)
        _ = app.tasks
    except Exception as error:  # a module may raise anything while it is imported
        why = f"{type(error).__name__}: {error}"
        raise NothingToScan(f"the tasks of {where!r} cannot be imported: {why}") from error
