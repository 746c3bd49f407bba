"""Mirrors: promises of this ledger that repeat the outcome of one in another tree.

A mirror is written in its task's own transaction. Afterwards this ledger creates the promise it
names, where that is asked for, listens to it, and settles the mirror. It asks like any client,
over the broker, because the other tree may be another ledger's; each question is repeated until
it is answered, and from time to time after that, in case the unblock was lost.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from resonate_amqp.core.model import (
    BRANCH,
    DEADLINE,
    DETACHED,
    EXTERNAL,
    MIRROR,
    ORIGIN,
    PARENT,
    TARGET,
    Promise,
    PromiseState,
    Value,
)
from resonate_amqp.core.requests import (
    Group,
    Mirrored,
    PromiseCreate,
    PromiseRegisterListener,
    PromiseSettle,
    Request,
    Response,
)
from resonate_amqp.errors import LedgerError
from resonate_amqp.ports import Broker, Random
from resonate_amqp.wire.address import EXCHANGE, shard_key
from resonate_amqp.wire.codec import encode_error
from resonate_amqp.wire.envelope import Replies, encode_group, requests_of

FIRST_WAIT_MS = 2_000
LONGEST_WAIT_MS = 30_000
ANSWERED_WAIT_MS = 300_000
NOT_COPIED = frozenset({MIRROR, DEADLINE, BRANCH, DETACHED, ORIGIN, PARENT})


@dataclass(slots=True, eq=False)
class _Open:
    promise: Promise
    group: str
    due_at: int = 0
    wait_ms: int = FIRST_WAIT_MS


class Mirrors:
    """The pending mirrors of one ledger queue; `address` is that queue's name."""

    def __init__(self, broker: Broker, random: Random, address: str) -> None:
        self._broker = broker
        self._random = random
        self._address = address
        self._open: dict[str, _Open] = {}
        self._due: list[tuple[int, bool, str]] = []
        self._by_group: dict[str, str] = {}
        self._by_named: dict[str, set[str]] = defaultdict(set)
        self._outcomes: list[Mirrored] = []

    def clear(self) -> None:
        """Another ledger is responsible, or will load them again."""
        self._open.clear()
        self._due.clear()
        self._by_group.clear()
        self._by_named.clear()
        self._outcomes.clear()

    def add(self, mirrors: Iterable[Promise], clock: int) -> None:
        """Take over pending mirrors; the promise behind one that was canceled is canceled."""
        for promise in mirrors:
            if promise.pending:
                group = self._random.token()
                self._open[promise.id] = _Open(promise, group)
                self._plan(promise.id, clock)
                self._by_group[group] = promise.id
                self._by_named[promise.mirror].add(promise.id)
            else:
                self._close(promise.id)
                if _created(promise):
                    self._cancel(promise.mirror)

    def next_due(self) -> int | None:
        """When to ask next (monotonic ms)."""
        return self._due[0][0] if self._due else None

    def ask(self, clock: int) -> None:
        """Send what is due, one message for each destination."""
        bodies: dict[str, list[bytes]] = defaultdict(list)
        while self._due and self._due[0][0] <= clock:
            due_at, _, mirror_id = heapq.heappop(self._due)
            one = self._open.get(mirror_id)
            if one is None or one.due_at != due_at:
                continue
            self._plan(mirror_id, clock + one.wait_ms)
            one.wait_ms = max(one.wait_ms, min(2 * one.wait_ms, LONGEST_WAIT_MS))
            steps = tuple(self._steps(one.promise))
            key = shard_key(one.promise.mirror)
            bodies[key].append(encode_group(Group(id=one.group, steps=steps)))
        for key, groups in bodies.items():
            self._send(key, groups)

    def take(self, replies: Replies, clock: int) -> None:
        """Answers and unblocks that came to this ledger's queue."""
        for reply in replies.replies:
            mirror_id = self._by_group.get(reply.id)
            if mirror_id is not None:
                self._answered(mirror_id, reply.responses, clock)
        for promise in replies.unblocked:
            self._settled(promise)

    def outcomes(self) -> list[Mirrored]:
        """The mirrors to be settled in the next transaction, once."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def waiting(self) -> bool:
        return bool(self._outcomes)

    def _answered(self, mirror_id: str, responses: tuple[Response, ...], clock: int) -> None:
        refused = next((one for one in responses if not one.ok), None)
        if refused is None:
            one = self._open[mirror_id]
            one.wait_ms = ANSWERED_WAIT_MS
            self._plan(mirror_id, clock + ANSWERED_WAIT_MS)
            for response in responses:
                if response.promise is not None:
                    self._settled(response.promise)
        elif refused.status < 500:
            error = encode_error(LedgerError(refused.error))
            self._outcome(mirror_id, PromiseState.REJECTED, error)

    def _plan(self, mirror_id: str, due_at: int) -> None:
        """To be asked then; what is created comes before what is only awaited, perhaps the same."""
        one = self._open[mirror_id]
        one.due_at = due_at
        heapq.heappush(self._due, (due_at, not _created(one.promise), mirror_id))

    def _settled(self, promise: Promise) -> None:
        if not promise.pending:
            for mirror_id in list(self._by_named.get(promise.id, ())):
                self._outcomes.append(Mirrored(mirror_id, promise.state, promise.value))
                self._close(mirror_id)

    def _outcome(self, mirror_id: str, state: PromiseState, value: Value) -> None:
        self._outcomes.append(Mirrored(mirror_id, state, value))
        self._close(mirror_id)

    def _close(self, mirror_id: str) -> None:
        one = self._open.pop(mirror_id, None)
        if one is not None:
            self._by_group.pop(one.group, None)
            named = self._by_named[one.promise.mirror]
            named.discard(mirror_id)
            if not named:
                del self._by_named[one.promise.mirror]

    def _steps(self, mirror: Promise) -> list[Request]:
        listen = PromiseRegisterListener(awaited=mirror.mirror, address=self._address)
        if not _created(mirror):
            return [listen]
        kept = {name: text for name, text in mirror.tags.items() if name not in NOT_COPIED}
        create = PromiseCreate(
            id=mirror.mirror,
            timeout_at=int(mirror.tags.get(DEADLINE, mirror.timeout_at)),
            param=mirror.param,
            tags=kept | {ORIGIN: mirror.mirror, PARENT: mirror.mirror},
        )
        return [create, listen]

    def _cancel(self, promise_id: str) -> None:
        """Told once: who is canceled by mistake of the network ends by its own deadline."""
        settle = PromiseSettle(id=promise_id, state=PromiseState.REJECTED_CANCELED)
        group = Group(id=self._random.token(), steps=(settle,))
        self._send(shard_key(promise_id), [encode_group(group)])

    def _send(self, key: str, groups: list[bytes]) -> None:
        for body in requests_of(groups):
            self._broker.publish(
                key,
                body,
                exchange=EXCHANGE,
                persistent=True,
                mandatory=True,
                reply_to=self._address,
            )


def _created(mirror: Promise) -> bool:
    """Whether the named promise is asked for by the mirror, and not only awaited."""
    return TARGET in mirror.tags or EXTERNAL in mirror.tags
