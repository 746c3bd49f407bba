"""Tasks from outside: what waits, and how it is set going again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from resonate_amqp.core.model import Promise, Task, TaskState
from resonate_amqp.core.pages import standing
from resonate_amqp.core.requests import Request, TaskContinue, TaskHalt, TaskRedrive, TaskSearch
from resonate_amqp.errors import Conflict, UsageError
from resonate_amqp.resonate.node import Node
from resonate_amqp.runtime.commands import Seconds, seconds_of
from resonate_amqp.wire.address import check_id


class Tasks:
    """The tasks of the ledger, by the id of their promise. Every method waits for an answer."""

    def __init__(self, node: Callable[[], Node]) -> None:
        self._node = node

    def search(
        self, states: Sequence[TaskState], *, older: Seconds = 0.0, limit: int | None = None
    ) -> list[tuple[Promise, Task]]:
        """Tasks in these states, with their promises, longest first in each state.

        All of them, or the first `limit`. Pending ones and leases count only if they are `older`
        seconds old.
        """
        node = self._node()
        before = node.session.now() - round(seconds_of(older) * 1000)
        query = TaskSearch(states=tuple(states), before=before)
        pairs = [pair for reply in node.find(query, limit) for pair in reply.tree or []]
        found = [(promise, task) for promise, task in pairs if task is not None]
        return sorted(found, key=lambda pair: standing(query.states, *pair))[:limit]

    def redrive(self, promise_id: str) -> Task:
        """Offer a pending or halted task again, now. Raises Conflict when it is neither."""
        return self._one(TaskRedrive(id=check_id(promise_id)), promise_id)

    def halt(self, promise_id: str, reason: str) -> Task:
        """Stop a task, whoever holds it, until it is redriven; its promise stays pending."""
        return self._one(TaskHalt(id=check_id(promise_id), reason=reason), promise_id)

    def resume(self, promise_id: str) -> Task:
        """Offer a halted task again. Raises Conflict when it is not halted."""
        return self._one(TaskContinue(id=check_id(promise_id)), promise_id)

    def _one(self, request: Request, promise_id: str) -> Task:
        response = self._node().request([request], promise_id).responses[0]
        if response.status == 404 or response.task is None:
            raise UsageError(response.error or f"promise {promise_id!r} has no task")
        if not response.ok:
            raise Conflict(response.error)
        return response.task
