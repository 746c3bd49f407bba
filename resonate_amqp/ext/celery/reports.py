"""Reports: outcomes that only Celery's main process learns, told to the ledger by a thread.

A hard time limit and a revocation end a task without its function; the main process must not
wait for anybody, so a thread of its own rejects the promise.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from celery import Task
from celery.app.task import Context as Request

from resonate_amqp.core.model import DIGEST, SERVICE
from resonate_amqp.errors import BrokerError, Encoding, LedgerError, ResonateError
from resonate_amqp.ext.celery import attempts
from resonate_amqp.ext.celery.made import Made
from resonate_amqp.ext.plain import flatten
from resonate_amqp.resonate import Resonate

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """A promise to be rejected: `promise_id`, if it was made of the message that is meant.

    `digest` is that of the message's content and empty where it is not known, `retried_id` the
    promise of a retry with other arguments, or empty.
    """

    resonate: Resonate
    promise_id: str
    error: Exception
    digest: str
    retried_id: str


DRAIN_S = 5.0


class Reporter:
    """Rejects promises, one after another, on a daemon thread; belongs to one process."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._reports: queue.Queue[Report] = queue.Queue()
        threading.Thread(target=self._run, name="resonate-reports", daemon=True).start()

    def add(self, report: Report) -> None:
        self._reports.put(report)

    def drain(self, timeout_s: float) -> None:
        """Wait until everything is told, for a while."""
        done = self._reports.all_tasks_done
        with done:
            told = done.wait_for(lambda: not self._reports.unfinished_tasks, timeout_s)
        if not told:
            log.warning("the ledger was not told of every task that was revoked or timed out")

    def _run(self) -> None:
        while True:
            report = self._reports.get()
            try:
                _tell(report)
            except Exception:
                log.exception("promise %s could not be rejected", report.promise_id)
            finally:
                self._reports.task_done()


_reporters: list[Reporter] = []


def reject(
    made: Made,
    task: Task,
    request: Request,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    error: Exception,
) -> None:
    """Reject the promise a message stands for, if it does, soon; never blocks nor raises.

    A promise that does not exist, or is settled, stays so.
    """
    if not made.concerns(request):
        return
    try:
        promise_id, digest, retried_id = made.promise_id(request, args, kwargs), "", ""
        with suppress(Encoding):  # then it is not known which content the promise should have
            asked = flatten(list(args), "args"), flatten(kwargs, "kwargs")
            digest = attempts.content_of(task.name, asked)
            if request.retries:
                retried_id = attempts.retried_id(promise_id, task.name, asked)
        report = Report(made.source(task), promise_id, error, digest, retried_id)
    except Exception:  # the user's `id` may do anything
        log.exception("task %s[%s] has no promise to be rejected", task.name, request.id)
        return
    if not (_reporters and _reporters[-1].process == os.getpid()):
        _reporters.append(Reporter())
    _reporters[-1].add(report)


def drain() -> None:
    """Wait, before the process ends, until the ledger was told."""
    if _reporters and _reporters[-1].process == os.getpid():
        _reporters[-1].drain(DRAIN_S)


def _tell(report: Report) -> None:
    while True:
        try:
            for promise_id in _meant(report):
                report.resonate.promises.reject(promise_id, report.error)
        except (BrokerError, LedgerError) as silence:
            log.warning("%s is not rejected yet: %s", report.promise_id, silence)
            continue
        except ResonateError as refused:
            log.info("%s is not rejected: %s", report.promise_id, refused)
        return


def _meant(report: Report) -> list[str]:
    """The promises that the message stands for: none that was made of another one."""
    promises, promise_id = report.resonate.promises, report.promise_id
    told = promises.get(promise_id).param.headers
    group = report.resonate.settings.group
    if told.get(SERVICE, group) != group:
        promise_id = f"{promise_id}.{group}"
        told = promises.get(promise_id).param.headers
    if not report.digest or told.get(DIGEST, report.digest) == report.digest:
        return [promise_id]
    if report.retried_id:
        promises.get(report.retried_id)
        return [report.retried_id, promise_id]
    log.info("%s was made of another message and stays as it is", promise_id)
    return []
