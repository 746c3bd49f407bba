"""Inquiry: whether a body's own promise is pending, asked before it hears of a cancellation.

The ledger cancels the children of a canceled promise in the same transaction. A body that heard
of a child first would go on, and begin steps after its end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from resonate_amqp.core.model import Promise, PromiseState
from resonate_amqp.core.requests import PromiseGet
from resonate_amqp.errors import ResonateError
from resonate_amqp.runtime.records import WITHDRAWN
from resonate_amqp.runtime.replay import Replay
from resonate_amqp.runtime.session import Session
from resonate_amqp.wire.envelope import Reply

AGAIN_MS = 1_000


class Inquiry:
    """Keeps what one body is to hear while the ledger is asked.

    `tell` has the replay learn it if the body's promise is pending; `ended` is called if not.
    """

    def __init__(
        self,
        session: Session,
        replay: Replay,
        promise_id: str,
        tell: Callable[[Callable[[int], None]], None],
        ended: Callable[[], None],
    ) -> None:
        self._session = session
        self._promise_id = promise_id
        self._replay = replay
        self._tell = tell
        self._ended = ended
        self._kept: list[Promise] = []
        self._group = ""

    def __bool__(self) -> bool:
        """Whether something is kept."""
        return bool(self._kept)

    def keeps(self, promise: Promise) -> bool:
        """Whether this record must not be heard yet."""
        canceled = promise.state is PromiseState.REJECTED_CANCELED
        by_the_body = WITHDRAWN in promise.value.headers
        if not self._kept and (not canceled or by_the_body):
            return False
        self._kept.append(promise)
        if len(self._kept) == 1:
            self._ask()
        return True

    def close(self) -> None:
        """Forget what is kept."""
        self._kept.clear()
        if self._group:
            self._session.calls.drop(self._group)
            self._group = ""

    def _ask(self) -> None:
        if self._kept and not self._group:
            request = PromiseGet(id=self._promise_id)
            self._group = self._session.calls.send(
                [request], self._answered, about=self._promise_id
            )

    def _answered(self, reply: Reply | ResonateError) -> None:
        self._group = ""
        if isinstance(reply, ResonateError) or not reply.responses[0].ok:
            self._session.later(AGAIN_MS, self._ask)
            return
        promise = reply.responses[0].promise
        kept, self._kept = self._kept, []
        if promise is not None and not promise.pending:
            self._ended()
            return
        for one in kept:
            self._tell(partial(self._replay.learn, one))
