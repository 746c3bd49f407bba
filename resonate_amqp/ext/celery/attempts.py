"""Attempts: the promises that one task's messages come to, when one promise is not enough.

A task is one execution under its own id. Two kinds of message ask for another one. A task that was
rejected without requeue may come back from a dead-letter route: that is the next attempt,
`ID.attempt-2`. And `self.retry(args=…)` asks for other arguments than those that are recorded: that
is `ID.retry-DIGEST`, and what the last of them comes to is also the outcome of `ID` and of the
others. Which promise a retry belongs to stands beside it, in the tag RETRY_OF and in a header of
the messages that the ledger sends: an id tells nothing of it, since a producer may choose any.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from celery.app.task import Context as Request
from celery.exceptions import Retry

from resonate_amqp.core.model import DIGEST, Promise, PromiseState
from resonate_amqp.errors import Encoding
from resonate_amqp.ext.comebacks import (
    ATTEMPT,
    DEATHS,
    PREVIOUS,
    REJECTED,
    attempt_id,
    attempt_of,
    came_back,
)
from resonate_amqp.ext.content import digest_of, shortened
from resonate_amqp.wire.address import MAX_ROOT_ID
from resonate_amqp.wire.codec import decode_call

RETRY_OF = "retry_of"
"""The tag of a retry with other arguments: the promise that the task began with."""
MOST_DEATHS = 8
"""Queues whose rejections are noted beside a promise; a param's headers are short."""

_ATTEMPT = re.compile(r"(.+)\.attempt-(\d+)")
_TOLD = ("queue", "reason", "count", "time")

Arguments = tuple[list[Any], dict[str, Any]]
"""The arguments of a message, plain."""


def first_id(promise_id: str, request: Request, queue: str) -> str:
    """The promise that a message begins with: its execution's own, or that of a later attempt."""
    execution, attempt = _split(promise_id)
    return _fitting(attempt_id(execution, max(attempt, attempt_of(_headers(request), queue))))


def next_id(promise: Promise, request: Request) -> str | None:
    """The promise of the next attempt, if a message came back since this one was rejected.

    Only rejections count: a message that Celery sends again, after a countdown, has passed queues
    that let it expire.
    """
    if promise.state is PromiseState.RESOLVED:
        return None
    before = {DEATHS: json.loads(promise.param.headers.get(DEATHS, "[]"))}
    if not came_back(before, rejections(request), rejected=True, redelivered=True, queue=""):
        return None
    execution, attempt = _split(promise.id)
    return _fitting(attempt_id(execution, attempt + 1))


def rejections(request: Request) -> dict[str, Any]:
    """The header of a message that tells how often it was rejected, without anything else."""
    deaths = _headers(request).get(DEATHS)
    found = [
        {**one, "time": str(one.get("time"))}
        for one in (deaths if isinstance(deaths, list) else [])
        if isinstance(one, Mapping) and one.get("reason") == REJECTED
    ]
    return {DEATHS: [{name: one.get(name) for name in _TOLD} for one in found[:MOST_DEATHS]]}


def noted(promise_id: str, request: Request, digest: str, original: str) -> dict[str, str]:
    """What the param of a message's promise tells of it."""
    found = {DIGEST: digest}
    deaths = rejections(request)[DEATHS]
    if deaths:
        found[DEATHS] = json.dumps(deaths)
    execution, attempt = _split(promise_id)
    if attempt > 1:
        found |= {ATTEMPT: str(attempt), PREVIOUS: attempt_id(execution, attempt - 1)}
    if original:
        found[PREVIOUS] = original
    return found


def content_of(name: str, asked: Arguments) -> str:
    """A digest of what a message asks for: the task and its arguments.

    A message that was pickled comes back in JSON, whose keys are text; so are those that count.
    """
    return digest_of(name, *map(_as_json, asked))


def asks_otherwise(promise: Promise, name: str, asked: Arguments) -> bool:
    """Whether a message asks for other arguments than the call that its promise was made by."""
    made_by_call = DIGEST not in promise.param.headers
    return made_by_call and content_of(name, _recorded(promise)) != content_of(name, asked)


def retried_id(original: str, name: str, asked: Arguments) -> str:
    """The promise of a retry with other arguments than the task's first promise has."""
    return f"{original}.retry-{content_of(name, asked)}"


def retries_with_others(request: Request, error: BaseException) -> bool:
    """Whether a task's retry asks for other arguments than its message had."""
    signature = error.sig if isinstance(error, Retry) else None
    if signature is None:
        return False
    now = tuple(signature.args or ()), dict(signature.kwargs or {})
    return now != (tuple(request.args or ()), dict(request.kwargs or {}))


def _split(promise_id: str) -> tuple[str, int]:
    found = _ATTEMPT.fullmatch(promise_id)
    return (found[1], int(found[2])) if found else (promise_id, 1)


def _fitting(promise_id: str) -> str:
    """An id of a root that is too long for one, shortened; what a task calls has its own limit."""
    root = ":" not in promise_id and len(promise_id.encode()) > MAX_ROOT_ID
    return shortened(promise_id) if root else promise_id


def _headers(request: Request) -> dict[str, Any]:
    headers: dict[str, Any] = request.headers or {}
    return headers


def _recorded(promise: Promise) -> Arguments:
    try:
        call = decode_call(promise.param)
    except Encoding:
        return [], {}
    return list(call.args), dict(call.kwargs)


def _as_json(plain: Any) -> Any:
    """Plain values as a message in JSON would hold them: a dict's keys are text."""
    match plain:
        case list():
            return [_as_json(item) for item in plain]
        case {"__type__": "items", "__value__": list(pairs)}:
            return {_key(key): _as_json(value) for key, value in pairs}
        case dict():
            return {key: _as_json(value) for key, value in plain.items()}
        case _:
            return plain


def _key(key: Any) -> str:
    return key if isinstance(key, str) else json.dumps(key)
