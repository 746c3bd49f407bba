"""Calls: what a task's workflow asks of Celery tasks, as their messages are to carry it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from celery import Task
from kombu.utils.json import dumps

from resonate_amqp.ext.plain import flatten
from resonate_amqp.runtime.commands import Invoke
from resonate_amqp.wire.address import CELERY


def adapt(command: Invoke) -> None:
    """Call a task that was given as an object by its name, with what Kombu's JSON makes of values.

    Such a task is called in the queue that the app routes it to, unless a target was named.
    Raises Encoding for arguments that Kombu's JSON does not carry.
    """
    if isinstance(command.func, Task):
        command.target = command.target or _target_of(command.func)
        command.func = str(command.func.name)
    if (command.target or "").startswith(f"{CELERY}://"):
        command.args = tuple(_carried(list(command.args), "args"))
        command.kwargs = _carried(command.kwargs, "kwargs")


def _carried(value: Any, path: str) -> Any:
    """What a message of Kombu's own would hold: any worker of Celery is to read it."""
    flatten(value, path)  # it names the place of what cannot be
    return json.loads(dumps(value))


def _target_of(task: Task) -> str | None:
    routed = task.app.amqp.router.route(dict(task._get_exec_options()), task.name)
    queue = routed.get("queue")
    return None if queue is None else f"{CELERY}://{quote(queue.name, safe='')}"
