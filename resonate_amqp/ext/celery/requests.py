"""Requests: Celery's own account of a message, in the worker's main process, made to report."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from celery import Task
from celery.app.task import Context
from celery.exceptions import TimeLimitExceeded
from celery.utils.imports import symbol_by_name

from resonate_amqp.ext.celery import messages, reports
from resonate_amqp.ext.celery.made import Made
from resonate_amqp.ext.deliveries import put_back, queue_named, queue_of_copy

log = logging.getLogger(__name__)


def reporting(task: Task, made: Made, *, inline: bool) -> type:
    """The task's request class, made to tell the ledger of a hard time limit.

    `inline`: tasks run in the thread of the worker's event loop, as those of the solo pool do.
    """

    base: Any = symbol_by_name(task.Request)

    class Request(base):
        acknowledged: bool

        def __init__(self, message: Any, /, *args: Any, **kwargs: Any) -> None:
            super().__init__(message, *args, **kwargs)
            told = {
                messages.QUEUE_HEADER: queue_named(message),
                messages.COPY_HEADER: queue_of_copy(message),
            }
            self._request_dict.update({name: queue for name, queue in told.items() if queue})
            message.reject = partial(_reject, message, message.reject)

        def acknowledge(self) -> None:
            # Left to the loop, it waits for the loop's next event: for up to 10 s nothing comes
            # while the broker waits for this.
            if inline and not self.acknowledged:
                self.message.ack_log_error(log, self._connection_errors)
                self.acknowledged = True
            super().acknowledge()

        def on_timeout(self, soft: bool, timeout: float) -> None:
            super().on_timeout(soft, timeout)
            if not soft:
                _timed_out(made, self, timeout)

    return Request


def late(task: Task, made: Made, *, inline: bool) -> type:
    """As `reporting`, for a task that anybody may call: only messages of a promise are ours.

    These are acknowledged after the task, whatever the task says, and all others as it says.
    Celery asks the task itself once whether success acknowledges, and the request's task for the
    rest; an acknowledgement that was made already is none.
    """
    # A task is pickled and copied by its name; this one is to differ.
    ours, others = object.__new__(type(task)), object.__new__(type(task))
    ours.__dict__.update(task.__dict__, acks_late=True, reject_on_worker_lost=True)
    others.__dict__.update(task.__dict__)

    base: Any = reporting(task, made, inline=inline)

    class Request(base):
        @property
        def task(self) -> Task:
            return ours if messages.ID_HEADER in self.request_dict else others

    return Request


def _reject(message: Any, reject: Any, requeue: bool = False) -> None:
    """As Kombu's, but gives back by `basic.nack`, which RabbitMQ from 4.3 on does not count."""
    if not requeue or message.acknowledged:
        reject(requeue=requeue)
        return
    put_back(message)
    message._state = "REQUEUED"


def _timed_out(made: Made, request: Any, timeout: float) -> None:
    context = Context(request.request_dict)
    error = TimeLimitExceeded(timeout)
    reports.reject(made, request.task, context, tuple(request.args), request.kwargs, error)
