"""Foreign queues: where the ledger may write, and what comes back from those who read there.

A reply is a message with a correlation id, the id of its promise, and without our envelope. It is
read here, and applied with the batch as any request is.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from fnmatch import fnmatchcase

from resonate_amqp.core.reports import PromiseReport, Reading
from resonate_amqp.core.requests import Group
from resonate_amqp.errors import InvalidId, Malformed
from resonate_amqp.ports import Delivery
from resonate_amqp.wire.address import CELERY, QUEUE, check_id, is_foreign, queue_of
from resonate_amqp.wire.amqprpc import ERROR, read_reply
from resonate_amqp.wire.celery2 import read_result
from resonate_amqp.wire.envelope import MAX_MESSAGE_BYTES
from resonate_amqp.wire.properties import Properties

log = logging.getLogger(__name__)


class Allowed:
    """The setting `foreign`: comma separated patterns of the queues that may be written to."""

    def __init__(self, patterns: str) -> None:
        self._shown = patterns
        self._patterns = tuple(one.strip() for one in patterns.split(",") if one.strip())

    def refuses(self, target: str) -> str:
        """Why nothing is created for a canonical target; empty when it may be."""
        if not is_foreign(target):
            return ""
        queue = queue_of(target)
        if any(fnmatchcase(queue, pattern) for pattern in self._patterns):
            return ""
        refusal = (
            f"target {target!r}: the ledger may not write to the queue {queue!r}, its setting "
            f"foreign is {self._shown!r}; have the queue added there, or correct the target"
        )
        log.warning("refused %s", refusal)
        return refusal


def report_of(delivery: Delivery) -> Group:
    """A group that settles a promise as a reply says; raises Malformed for what is none.

    The same message again makes the same group.
    """
    if len(delivery.body) > MAX_MESSAGE_BYTES:
        raise Malformed(
            "reply", f"{len(delivery.body)} bytes; at most {MAX_MESSAGE_BYTES} are read"
        )
    try:
        promise_id = check_id(delivery.correlation_id)
    except InvalidId as error:
        raise Malformed("correlation_id", str(error)) from None
    readings = {
        CELERY: _reading(lambda: read_result(delivery.body)),
        QUEUE: _reading(lambda: read_reply(delivery.body, delivery.headers)),
    }
    digest = hashlib.blake2b(f"{promise_id}\0".encode() + delivery.body, digest_size=16)
    return Group(
        id=f"reply-{digest.hexdigest()}", steps=(PromiseReport(id=promise_id, readings=readings),)
    )


def passed_on(reply: Delivery) -> Properties:
    """What goes along with a reply to the ledger that keeps its promise."""
    error = reply.headers.get(ERROR)
    told = {ERROR: error if isinstance(error, str) else None} if ERROR in reply.headers else {}
    return Properties(correlation_id=reply.correlation_id, headers=told)


def _reading(read: Callable[[], Reading]) -> Reading | str:
    try:
        return read()
    except Malformed as error:
        return str(error)
