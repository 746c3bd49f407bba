"""Numbers: where the ids of a body's children come from.

A body counts what it builds. Each asyncio branch of an `async def` body takes one number of the
branch that started it and counts its own commands below that, so that ids depend on the order of
the code in each branch and not on which of them is woken first.
"""

from __future__ import annotations

from contextvars import ContextVar

from resonate_amqp.core.model import child_id


class Numbers:
    """One number space; `body` is the one of the whole body, which is itself for the first."""

    __slots__ = ("body", "id", "last")

    def __init__(self, promise_id: str, body: Numbers | None = None) -> None:
        self.id = promise_id
        self.last = 0
        self.body: Numbers = self if body is None else body

    def next_id(self) -> str:
        """The id of the next child."""
        self.last += 1
        return child_id(self.id, self.last)


CURRENT: ContextVar[Numbers | None] = ContextVar("resonate_amqp_numbers", default=None)
"""Those of the asyncio branch that runs now; None outside of an `async def` body."""
