"""Promises from outside: get, create, resolve, reject, cancel; values encoded for you."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from resonate_amqp.core.model import EXTERNAL, ORIGIN, PARENT, Promise, PromiseState, Task, Value
from resonate_amqp.core.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseSearch,
    PromiseSettle,
    TaskGet,
)
from resonate_amqp.errors import Conflict, TimedOut, UsageError
from resonate_amqp.resonate.node import Node
from resonate_amqp.runtime.commands import Seconds, seconds_of
from resonate_amqp.wire.address import check_id, check_root_id
from resonate_amqp.wire.codec import encode, encode_error
from resonate_amqp.wire.envelope import Reply
from resonate_amqp.wire.tags import check_tags


class Promises:
    """The promises of the ledger, by id. Every method waits for the ledger's answer."""

    def __init__(
        self,
        node: Callable[[], Node],
        soon_node: Callable[[], Awaitable[Node]],
        timeout_s: Callable[[], float],
    ) -> None:
        self._node = node
        self._soon_node = soon_node
        self._timeout_s = timeout_s

    def get(self, promise_id: str) -> Promise:
        """The promise's record; raises UsageError when there is none."""
        return self._one(PromiseGet(id=check_id(promise_id)))

    def search(self, tag: str, value: str, *, limit: int | None = None) -> list[Promise]:
        """The promises that have a tag with this value, the oldest first.

        All of them, or the first `limit`.
        """
        replies = self._node().find(PromiseSearch(name=tag, value=value), limit)
        found = [promise for reply in replies for promise, _ in reply.tree or []]
        return sorted(found, key=lambda promise: (promise.created_at, promise.id))[:limit]

    def task(self, promise_id: str) -> Task | None:
        """The task of a promise: who executes it; None when there is none."""
        request = TaskGet(id=check_id(promise_id))
        return self._node().request([request], request.id).responses[0].task

    async def aget(self, promise_id: str) -> Promise:
        """As `get`, for a running event loop, which it never blocks."""
        request = PromiseGet(id=check_id(promise_id))
        node = await self._soon_node()
        return _promise(request, await node.soon_request([request], request.id))

    def create(
        self,
        promise_id: str,
        *,
        timeout: Seconds | None = None,
        data: Any = None,
        tags: Mapping[str, str] | None = None,
    ) -> Promise:
        """Create a promise that somebody settles from outside; an existing one is answered."""
        check_root_id(promise_id)
        seconds = self._timeout_s() if timeout is None else seconds_of(timeout)
        node = self._node()
        own = {ORIGIN: promise_id, PARENT: promise_id, EXTERNAL: "true"}
        return self._one(
            PromiseCreate(
                id=promise_id,
                timeout_at=node.session.now() + round(seconds * 1000),
                param=encode(data, "data"),
                tags=check_tags(tags or {}) | own,
            )
        )

    def resolve(self, promise_id: str, value: Any = None) -> Promise:
        """Settle a promise with a value. Raises Conflict when it was settled otherwise."""
        return self._settle(promise_id, PromiseState.RESOLVED, encode(value))

    def reject(self, promise_id: str, error: BaseException | str) -> Promise:
        """Settle a promise with an error. Raises Conflict when it was settled otherwise."""
        raised = error if isinstance(error, BaseException) else RuntimeError(error)
        return self._settle(promise_id, PromiseState.REJECTED, encode_error(raised))

    def cancel(self, promise_id: str) -> Promise:
        """Settle a promise as canceled, and with it what its function had called, unless detached.

        Raises Conflict when it was settled otherwise.
        """
        return self._settle(promise_id, PromiseState.REJECTED_CANCELED, Value())

    def repeat(self, promise_id: str, outcome: Promise) -> Promise:
        """Settle a promise as another one is settled. Raises Conflict when it was otherwise.

        What that one lost by its deadline is rejected.
        """
        timed_out = outcome.state is PromiseState.REJECTED_TIMEDOUT
        state = PromiseState.REJECTED if timed_out else outcome.state
        value = encode_error(TimedOut(f"{outcome.id!r} timed out")) if timed_out else outcome.value
        return self._settle(promise_id, state, value)

    def _settle(self, promise_id: str, state: PromiseState, value: Value) -> Promise:
        promise = self._one(PromiseSettle(id=check_id(promise_id), state=state, value=value))
        if promise.state is not state or promise.value.data != value.data:
            raise Conflict(
                f"promise {promise_id!r} is {promise.state} already; a settled promise never "
                "changes"
            )
        return promise

    def _one(self, request: PromiseGet | PromiseCreate | PromiseSettle) -> Promise:
        return _promise(request, self._node().request([request], request.id))


def _promise(request: PromiseGet | PromiseCreate | PromiseSettle, reply: Reply) -> Promise:
    response = reply.responses[0]
    if response.promise is None:
        raise UsageError(response.error or f"promise {request.id!r} does not exist")
    return response.promise
