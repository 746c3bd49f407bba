"""Comebacks: a message that meets the outcome of its execution, and whether it is to run again.

A rejection ends a delivery, not the message: it may come back by a dead-letter route, or be put
back from a dead-letter queue, and then it is the next attempt. RabbitMQ counts each passage in the
header `x-death`, by queue and reason. A redelivery of the very delivery that was recorded, whose
settlement a crash has cut off, has the same counts, and so has what its producer sent twice: both
get the recorded outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

DEATHS = "x-death"
REJECTED = "rejected"

ATTEMPT = "attempt"
"""The header of a param that holds the number of the attempt, from the second one on."""
PREVIOUS = "previous"
"""The header of a param that holds the promise of the attempt before."""

Passages = dict[tuple[str, str], tuple[int, str]]
"""By queue and reason: how often, and since when."""


def passages(headers: Mapping[str, Any]) -> Passages:
    """How a message was dead-lettered until now; what is not in RabbitMQ's form does not count."""
    deaths = headers.get(DEATHS)
    found: Passages = {}
    for death in deaths if isinstance(deaths, list) else []:
        if isinstance(death, Mapping):
            count = death.get("count", 1)
            key = str(death.get("queue", "")), str(death.get("reason", ""))
            found[key] = (count if isinstance(count, int) else 1), _instant(death.get("time"))
    return found


def attempt_of(headers: Mapping[str, Any], queue: str) -> int:
    """The attempt that a message begins with: one more than its queue's rejections behind it.

    Where the queue is not known, those of every queue count.
    """
    return 1 + sum(
        count
        for (name, reason), (count, _) in passages(headers).items()
        if reason == REJECTED and queue in ("", name)
    )


def attempt_id(promise_id: str, attempt: int) -> str:
    """The promise of an attempt; the first one has the execution's own id."""
    return promise_id if attempt < 2 else f"{promise_id}.attempt-{attempt}"


def came_back(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    *,
    rejected: bool,
    redelivered: bool,
    queue: str,
) -> bool:
    """Whether a message is to run again although its attempt is recorded.

    `before` and `now` are the headers that were recorded and those that came, `rejected` tells
    that the recorded attempt ended with a rejection without requeue, `queue` names the queue the
    message came from, or is empty. An acknowledged message runs again only if it passed another
    queue's dead-lettering since; expiry in its own queue does not count. RabbitMQ tells passages
    by the second, so a second one within it looks the same, but is no redelivery.
    """
    then, since = passages(before), passages(now)
    changed = [key for key in since if since[key] != then.get(key) or not redelivered]
    ours = any(queue == name and reason != REJECTED for name, reason in changed)
    return bool(changed) and (rejected or not ours)


def _instant(value: Any) -> str:
    """When a message was dead-lettered first, in one form: recorded times have a zone."""
    if isinstance(value, datetime):
        return str(int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()))
    return str(value or "")
