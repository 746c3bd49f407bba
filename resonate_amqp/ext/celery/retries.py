"""Retries: whether what a task raised is its outcome, or Celery will run it again.

Celery retries by sending the task's message again, so the promise stays open meanwhile: the
message that comes claims it. Should that message be lost, the ledger offers the task itself.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from celery import Task
from celery.app.task import Context as Request
from celery.exceptions import Ignore, Reject, Retry

MARGIN_S = 60.0
"""How long after its time a retry's message may come before the ledger sends one."""


def postponed_s(
    task: Task, request: Request, error: BaseException, *, never_s: float, lost_s: float
) -> float | None:
    """For how long an error that is no outcome postpones the task; None for one that is.

    `never_s` stands for what nobody has asked to run again: Ignore. A message that comes back all
    the same runs it. A Reject whose message goes back to its queue runs when that is delivered,
    or after `lost_s`, should a delivery limit have dropped it. Any other Reject is an outcome.
    """
    match error:
        case Retry():
            return _until(error.when) + MARGIN_S
        case Ignore():
            return never_s
        case Reject() if error.requeue:
            return lost_s
    countdown_s = _autoretry_s(task, request, error)
    return None if countdown_s is None else countdown_s + MARGIN_S


def _autoretry_s(task: Task, request: Request, error: BaseException) -> float | None:
    """How long Celery's own retry waits at most; None if `autoretry_for` does not retry this."""
    wanted = tuple(getattr(task, "autoretry_for", ()) or ())
    unwanted = tuple(getattr(task, "dont_autoretry_for", ()) or ())
    # Celery wraps a task's run in its retries only where they were asked for.
    if not hasattr(task, "_orig_run") or not isinstance(error, wanted):
        return None
    given: dict[str, Any] = getattr(task, "retry_kwargs", None) or {}
    most = getattr(task, "override_max_retries", given.get("max_retries", task.max_retries))
    if isinstance(error, unwanted) or (most is not None and request.retries >= most):
        return None
    if backoff := float(getattr(task, "retry_backoff", False)):
        longest = int(getattr(task, "retry_backoff_max", 600))
        return float(min(longest, int(max(1.0, backoff)) * 2 ** min(request.retries, 32)))
    if given.get("eta") is not None:
        return _until(given["eta"])
    return _until(given.get("countdown", task.default_retry_delay))


def _until(when: float | datetime | str | None) -> float:
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    if isinstance(when, datetime):
        now = datetime.now(UTC) if when.tzinfo else datetime.now()
        return max(0.0, (when - now).total_seconds())
    return max(0.0, float(when or 0))
