"""Foreign queues: how a call leaves for one that is not ours, by the kind of its target."""

from __future__ import annotations

from resonate_amqp.core.model import Promise, Value
from resonate_amqp.errors import Malformed, UsageError
from resonate_amqp.wire import amqprpc, celery2
from resonate_amqp.wire.address import CELERY, is_foreign
from resonate_amqp.wire.fields import Fields
from resonate_amqp.wire.properties import Outgoing


def check_call(target: str, param: Value) -> None:
    """Raise UsageError for a call that cannot be said to whoever is behind a canonical target."""
    if is_foreign(target):
        (celery2 if _celery(target) else amqprpc).check(param)


def read_param(fields: Fields, name: str, target: str) -> Value:
    """The param of a promise with that canonical target, if any; raises Malformed."""
    param = fields.value(name)
    try:
        if target:
            check_call(target, param)
    except UsageError as error:
        raise Malformed(fields.path(name), str(error)) from None
    return param


def message_for(target: str, promise: Promise, version: int, now: int, reply_to: str) -> Outgoing:
    """The message of a call to a foreign queue; raises UsageError as `check_call` does.

    `version` is the task's, `reply_to` where an answer is to go.
    """
    if _celery(target):
        return celery2.task_message(promise, version, reply_to)
    return amqprpc.request_message(promise, now, reply_to)


def _celery(target: str) -> bool:
    return target.startswith(f"{CELERY}:")
