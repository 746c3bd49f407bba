"""Windows: what a commit held, for whoever wants this process to die right after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from resonate_amqp.core.batch import Outcome
from resonate_amqp.core.requests import (
    PromiseCreate,
    Query,
    Request,
    TaskCreate,
    TaskFence,
    TaskFulfill,
)
from resonate_amqp.ports import Failpoint
from resonate_amqp.server.intake import Asked


def committed(asked: Sequence[Asked], outcome: Outcome) -> Iterator[Failpoint]:
    """The places that a ledger has come to by a commit that answered these groups."""
    if outcome.executes and any(_creates(step) for one in asked for step in one.group.steps):
        yield Failpoint.CREATE_COMMITTED
    if any(isinstance(one.group.steps[-1], TaskFulfill) for one in asked):
        yield Failpoint.FULFILL_COMMITTED
    yield Failpoint.BATCH_COMMITTED


def _creates(step: Request | Query) -> bool:
    action = step.action if isinstance(step, TaskFence | TaskCreate) else step
    return isinstance(action, PromiseCreate)
