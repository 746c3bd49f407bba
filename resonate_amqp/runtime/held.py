"""Held: a lease as its holder holds it, and the requests that act under it."""

from __future__ import annotations

from dataclasses import dataclass

from resonate_amqp.core.model import Promise
from resonate_amqp.core.requests import (
    PromiseCreate,
    PromiseSettle,
    TaskAcquire,
    TaskFence,
    TaskFulfill,
    TaskHalt,
    TaskLease,
    TaskRelease,
    TaskSuspend,
)
from resonate_amqp.ports import Delivery
from resonate_amqp.runtime.claims import Claim
from resonate_amqp.runtime.locally import AS_EVER, LocalSteps
from resonate_amqp.wire.fields import MAX_TEXT


@dataclass(slots=True, eq=False)
class Held:
    """`delivery` is None for a TTL lease; `since` is when it, or the lease, came here (monotonic).

    `acquire` is the request whose answer is still to come, when the body was started before it:
    until then the version is only what it will be if the acquire succeeds. `claim` is the one by
    which the task came, if any. `void` tells that the delivery was lost with its channel.
    """

    promise: Promise
    version: int
    holder: str
    delivery: Delivery | None
    since: int
    acquire: TaskAcquire | None = None
    claim: Claim | None = None
    void: bool = False

    @property
    def fleeting(self) -> bool:
        """Whether the lease is to be given up rather than kept by a body that waits."""
        return self.delivery is not None or self.claim is not None

    @property
    def slot(self) -> bool:
        """Whether the body takes one of the process's slots."""
        return self.delivery is not None or (self.claim is not None and self.claim.patient)

    @property
    def steps(self) -> LocalSteps:
        """How local functions are run and their values recorded."""
        return AS_EVER if self.claim is None else self.claim.steps

    @property
    def id(self) -> str:
        return self.promise.id

    def fence(self, action: PromiseCreate | PromiseSettle) -> TaskFence:
        return TaskFence(id=self.id, version=self.version, holder=self.holder, action=action)

    def fulfill(self, action: PromiseSettle) -> TaskFulfill:
        return TaskFulfill(id=self.id, version=self.version, holder=self.holder, action=action)

    def suspend(self, awaited: tuple[str, ...]) -> TaskSuspend:
        return TaskSuspend(id=self.id, version=self.version, holder=self.holder, awaited=awaited)

    def lease(self, ttl_ms: int) -> TaskLease:
        return TaskLease(id=self.id, version=self.version, holder=self.holder, ttl=ttl_ms)

    def release(self, delay_ms: int, *, unknown: str = "") -> TaskRelease:
        return TaskRelease(
            id=self.id,
            version=self.version,
            holder=self.holder,
            delay=delay_ms,
            unknown=_fitting(unknown),
        )

    def halt(self, reason: str) -> TaskHalt:
        return TaskHalt(
            id=self.id, reason=_fitting(reason), version=self.version, holder=self.holder
        )


def _fitting(reason: str) -> str:
    """As much of a reason as a message may carry, and `…`; the whole of it is in the log."""
    encoded = reason.encode(errors="backslashreplace")
    if len(encoded) <= MAX_TEXT:
        return encoded.decode()
    return encoded[: MAX_TEXT - 3].decode(errors="ignore") + "…"
