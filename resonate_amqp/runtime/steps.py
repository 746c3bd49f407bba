"""Steps: what a replay wants recorded, as requests under its task's lease."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from resonate_amqp.core.model import EXTERNAL, MIRROR, SCOPE, TARGET
from resonate_amqp.core.requests import (
    PromiseCreate,
    PromiseRegisterListener,
    PromiseSettle,
    Request,
    Response,
    TaskAcquire,
    TaskLease,
)
from resonate_amqp.ports import Telemetry
from resonate_amqp.runtime.held import Held
from resonate_amqp.runtime.replay import Abandon, Await, Finish, Halt, Leaf, Want
from resonate_amqp.runtime.unserved import Unserved
from resonate_amqp.wire.envelope import MIRRORS

GROUP_BYTES = 2 * 1024 * 1024
STEP_BYTES = 300

Opener = TaskAcquire | TaskLease
Recorded = PromiseCreate | PromiseSettle | Await | Finish | Halt
"""Every want that the ledger is told of."""


def step_of(want: Recorded, held: Held) -> Request:
    """The request that records a want."""
    match want:
        case PromiseCreate() | PromiseSettle():
            return held.fence(want)
        case Await(id=promise_id):
            return PromiseRegisterListener(awaited=promise_id, address="")
        case Finish(settle=settle):
            return held.fulfill(settle)
        case Halt(reason=reason):
            return held.halt(reason)
        case _:
            assert_never(want)


def openers_of(held: Held, ttl_ms: int | None) -> list[Opener]:
    """What a group has to begin with: the acquire not yet answered, the move to a TTL lease."""
    openers: list[Opener] = []
    if held.acquire is not None:
        openers.append(held.acquire)
    if ttl_ms is not None:
        openers.append(held.lease(ttl_ms))
    return openers


def move_unknown(openers: Sequence[Opener], responses: Sequence[Response]) -> bool:
    """Whether a ledger that does not know `task.lease` could not read the group it opens."""
    if not openers or len(responses) > len(openers):
        return False
    return isinstance(openers[-1], TaskLease) and responses[-1].status == 400


def lost(want: Recorded, response: Response) -> bool:
    """Whether a refusal says that the task is not held any more, or is not there."""
    ends = isinstance(want, Finish | Halt)
    return response.status == 409 or (response.status == 404 and ends)


def misunderstood(wants: Sequence[Want], level: int) -> bool:
    """Whether a ledger of this level would record a mirror as a promise of its own."""
    return level < MIRRORS and any(
        isinstance(want, PromiseCreate) and MIRROR in want.tags for want in wants
    )


def fitting(wants: list[Want]) -> int:
    """How many of these, from the first, go out together.

    A group must fit into one message. And a leaf that comes after a promise for somebody else to
    settle is held back: it may hand out that promise's id, which has to exist by then.
    """
    size = 0
    handed_out = False
    for number, want in enumerate(wants):
        if size > GROUP_BYTES or (handed_out and isinstance(want, Leaf)):
            return number
        size += _weight(want)
        handed_out = handed_out or (
            isinstance(want, PromiseCreate) and want.tags.get(EXTERNAL) == "true"
        )
    return len(wants)


def tell_called(
    telemetry: Telemetry, unserved: Unserved, parent_id: str, create: PromiseCreate
) -> None:
    """Tell that a body calls or runs a function."""
    unserved.called(create.tags.get(TARGET, ""))
    function = create.param.headers.get("func", "")
    if function:
        kind = "runs" if create.tags.get(SCOPE) == "local" else "calls"
        telemetry.called(create.id, parent_id, function, kind)


def _weight(want: Want) -> int:
    match want:
        case PromiseCreate(id=promise_id, param=value, tags=tags):
            words = sum(len(name) + len(text) for name, text in tags.items())
            return STEP_BYTES + len(promise_id) + len(value.data) + words
        case PromiseSettle(value=value):
            return STEP_BYTES + len(value.data)
        case Finish(settle=settle):
            return STEP_BYTES + len(settle.value.data)
        case Leaf() | Abandon():
            return 0
        case _:
            return STEP_BYTES
