"""Numbers: where the ids of a body's children come from.

A body counts what it builds. Each asyncio branch of an `async def` body takes one number of the
branch that started it and counts its own commands below that, so that ids depend on the order of
the code in each branch and not on which of them is woken first.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from resonate_amqp.core.model import child_id
from resonate_amqp.errors import NotDurable

if TYPE_CHECKING:
    from resonate_amqp.runtime.commands import Timeout


class Numbers:
    """One number space; `body` is the one of the whole body, which is itself for the first.

    `limits` are the time limits that hold now, None where nothing durable is awaited; `left` are
    those that hold no more and that the driver has not been told of. Satisfies `Limited`.
    """

    __slots__ = ("body", "id", "last", "left", "limits")

    def __init__(self, promise_id: str, body: Numbers | None = None) -> None:
        self.id = promise_id
        self.last = 0
        self.body: Numbers = self if body is None else body
        self.limits: list[Timeout] | None = None
        self.left: list[Timeout] = []

    def enter(self, limit: Timeout) -> None:
        if self.limits is None:
            raise NotDurable(
                f"{self.id!r} is a plain function, which awaits nothing durable: ctx.timeout "
                "limits generator functions and async functions"
            )
        self.limits.append(limit)

    def leave(self, limit: Timeout, error: BaseException | None) -> bool:
        if self.limits is not None and limit in self.limits:
            self.limits.remove(limit)
            self.left.append(limit)
        return False

    def take_left(self) -> list[Timeout]:
        """The limits that hold no more, once."""
        left, self.left = self.left, []
        return left

    def next_id(self) -> str:
        """The id of the next child."""
        self.last += 1
        return child_id(self.id, self.last)


CURRENT: ContextVar[Numbers | None] = ContextVar("resonate_amqp_numbers", default=None)
"""Those of the asyncio branch that runs now; None outside of an `async def` body."""
