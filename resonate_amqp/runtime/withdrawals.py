"""Withdrawals: what a body awaits no more is canceled, in the ledger and in this process."""

from __future__ import annotations

from typing import Any

from resonate_amqp.core.model import (
    EXTERNAL,
    MIRROR,
    SCOPE,
    TARGET,
    TIMER,
    PromiseState,
    Value,
)
from resonate_amqp.core.requests import PromiseCreate, PromiseSettle
from resonate_amqp.runtime.frames import AsyncFrame, Frame, GeneratorFrame, closed
from resonate_amqp.runtime.records import WITHDRAWN, Records
from resonate_amqp.runtime.wants import Abandon


class Withdrawals:
    """Cancels children of one task; shares with its replay what runs there."""

    def __init__(
        self,
        records: Records,
        frames: dict[str, Frame],
        asyncs: dict[str, AsyncFrame],
        leaves: set[str],
        settling: set[str],
        deferred: dict[str, Any],
    ) -> None:
        self._records = records
        self._frames = frames
        self._asyncs = asyncs
        self._leaves = leaves
        self._settling = settling
        self._deferred = deferred

    def runs_code(self, promise_id: str) -> bool:
        """Whether a child runs a function; a timer, or what somebody else settles, does not."""
        tags = self._records.asked(promise_id).tags
        if tags.get(TIMER) == "true" or tags.get(EXTERNAL) == "true":
            return False
        return MIRROR not in tags or TARGET in tags

    def give_up(self, frame: Frame, promise_id: str) -> None:
        """Cancel a child that is awaited no more, unless it is detached, or has its outcome.

        A function that runs in a thread of this process goes on there, and is not heard.
        """
        frame.attached.pop(promise_id, None)
        self._records.awaited.discard(promise_id)
        if self._records.has_outcome(promise_id) or promise_id in self._settling:
            return
        if self._records.detached(promise_id):
            return
        asked = self._records.asked(promise_id)
        if asked.tags.get(SCOPE) == "local":
            self._stop(asked)
        self._settling.add(promise_id)
        self._records.wants.append(
            PromiseSettle(
                id=promise_id,
                state=PromiseState.REJECTED_CANCELED,
                value=Value({WITHDRAWN: "true"}),
            )
        )

    def lateness(self) -> str:
        """That the deadline has passed, and for which children a body waited that had returned."""
        ended = (frame for frame in self._frames.values() if frame.verdict is not None)
        waited_for = [one for frame in ended for one in frame.attached if self.runs_code(one)]
        if not waited_for:
            return "its deadline has passed"
        return (
            "its deadline has passed after it had returned, and what it returned is lost: "
            f"it waited for {', '.join(waited_for)}"
        )

    def _stop(self, step: PromiseCreate) -> None:
        """End what runs of a local step here; so that it can be canceled, it is recorded."""
        self._deferred.pop(step.id, None)
        if step.id in self._leaves:
            self._leaves.discard(step.id)
            self._records.wants.append(Abandon(step.id))
        frame = self._frames.pop(step.id, None)
        if frame is not None:
            if self._asyncs.pop(step.id, None) is not None:
                self._records.wants.append(Abandon(step.id))
            elif isinstance(frame, GeneratorFrame):
                closed(frame)
            for child in list(frame.attached):
                self.give_up(frame, child)
        self._records.wants.append(step)
