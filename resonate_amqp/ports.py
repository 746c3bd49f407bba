"""The ports: what the runtime and the ledger service need of the world, and nothing more.

Adapters satisfy them structurally. Worker and service are step functions: they are handed the
events of one poll, and publish, acknowledge and sleep only through these ports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from resonate_amqp.core.batch import Backlog, Batch, Outcome
from resonate_amqp.core.model import Promise, Schedule, Task
from resonate_amqp.core.pages import START, Cursor
from resonate_amqp.core.requests import PromiseSearch, TaskSearch
from resonate_amqp.core.timers import Timer
from resonate_amqp.wire.properties import PLAIN, Properties
from resonate_amqp.wire.topology import Exchange, Queue


class Clock(Protocol):
    """Time, in epoch milliseconds; `monotonic` never goes back and is unrelated to the epoch."""

    def now(self) -> int: ...

    def monotonic(self) -> int: ...


class Random(Protocol):
    """Where ids, tokens and tickets come from."""

    def token(self) -> str:
        """A string nobody else draws, of letters and digits."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A message received; `handle` is the adapter's own mark for acknowledging it."""

    queue: str
    body: bytes
    handle: Any
    redelivered: bool = False
    redeliveries: int = -1
    reply_to: str = ""
    correlation_id: str = ""
    headers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Opened:
    """Both connections are up.

    `epoch` counts consuming connections from 1: a new one has no consumers yet, the same one
    means that only publishing was interrupted.
    """

    epoch: int


@dataclass(frozen=True, slots=True)
class Consuming:
    """The broker confirmed the consumer: what is published to `queue` now reaches us."""

    queue: str


@dataclass(frozen=True, slots=True)
class ConsumerLost:
    """A consumer ended (channel or connection closed, queue gone); its deliveries are void."""

    queue: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The broker refused to declare or to consume `queue`; `reason` is the broker's."""

    queue: str
    reason: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A connection was lost or could not be made; the adapter tries again by itself.

    `refused` when the broker turned us away (credentials, virtual host): trying again will not
    help until somebody changes something.
    """

    reason: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The broker took over responsibility for the publishes with these tokens."""

    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """These publishes were refused, returned or cut off: publish again, or report.

    `unroutable` names the routing key when no queue would take the message; `oversized` tells
    that it is larger than the broker takes, so that publishing it again cannot help.
    """

    tokens: tuple[int, ...]
    unroutable: str = ""
    oversized: bool = False


@dataclass(frozen=True, slots=True)
class Inspected:
    """How many messages wait in a queue, those under way not counted; None: there is no queue.

    `consumers` is how many take them, as far as the broker tells.
    """

    queue: str
    messages: int | None
    consumers: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Blocked:
    """The broker takes no publishes from us for now (`blocked`), or takes them again."""

    blocked: bool


Event = (
    Delivery
    | Opened
    | Consuming
    | ConsumerLost
    | Refused
    | Disconnected
    | Confirmed
    | Unconfirmed
    | Inspected
    | Blocked
)


class Broker(Protocol):
    """One process's access to the broker: a consuming and a publishing connection, kept up.

    Every method is called from the one thread that polls, except `wake`. Nothing blocks but
    `poll`. After a loss the adapter reconnects by itself and reports `Opened` again; consumers
    and declarations are the owner's to repeat.
    """

    def poll(self, timeout_ms: int) -> list[Event]:
        """Events that have happened; waits up to `timeout_ms` for the first, or for `wake`."""
        ...

    def wake(self) -> None:
        """Make a poll return soon, from any thread."""
        ...

    def declare(self, *things: Queue | Exchange, passive: bool = False) -> None:
        """Look for each on a channel of its own and, unless `passive`, create what is missing.

        A refusal is reported as `Refused`; a missing thing too when `passive`.
        """
        ...

    def inspect(self, queue: str) -> None:
        """Look how long a queue is; answered by `Inspected`, unless the connection is lost."""
        ...

    def consume(
        self, queue: Queue, *, prefetch: int, auto_ack: bool = False, passive: bool = False
    ) -> None:
        """Declare the queue as `declare` does, then consume it; answered by `Consuming`.

        Of a queue that is consumed already this changes the prefetch; after `cancel` it is
        consumed again. What the broker does not answer in time is reported as `ConsumerLost`.
        """
        ...

    def cancel(self, queue: str) -> None:
        """Stop taking from the queue; unacknowledged deliveries stay ours."""
        ...

    def leave(self, queue: str) -> None:
        """Stop taking from the queue and return every unacknowledged delivery of it."""
        ...

    def publish(
        self,
        key: str,
        body: bytes,
        *,
        exchange: str = "",
        persistent: bool = False,
        mandatory: bool = False,
        token: int = 0,
        reply_to: str = "",
        properties: Properties = PLAIN,
    ) -> None:
        """Send a message. A `token` above 0 asks for `Confirmed` or `Unconfirmed` naming it.

        A mandatory message without a queue, or one to a missing exchange, is reported as
        `Unconfirmed` even with token 0. While the publishing connection is down, a message with
        a token is reported as `Unconfirmed` and one without is dropped.
        """
        ...

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge; those of an earlier connection are dropped silently."""
        ...

    def give_back(self, delivery: Delivery) -> None:
        """Return a delivery to its queue, for anybody."""
        ...

    def connected(self) -> bool:
        """Whether the publishing connection is open and not blocked."""
        ...

    def flush(self) -> None:
        """Send what was published so far, without waiting for the next poll."""
        ...

    def abort(self) -> None:
        """Lose both connections at once, as a cut cable does; what is unsent is lost too."""
        ...

    def close(self) -> None: ...


class Ledger(Protocol):
    """Where promises and tasks are kept. It loads, runs transitions and stores; it has no rule.

    Only a promoted ledger writes. Every write raises Superseded once another was promoted for
    the same queue, and LedgerUnavailable when the database does not answer; in both cases
    nothing of the batch was recorded, or what was is unknown and a repetition is safe.
    """

    def promote(self, clock: int) -> Backlog:
        """Become the one writer; `clock` (epoch ms) is only a lower bound of the new time."""
        ...

    def apply(self, batch: Batch, clock: int) -> Outcome:
        """Answer the groups and take the timers, in order, in one transaction."""
        ...

    def restart(self, clock: int) -> Outcome:
        """Release every lease and offer every pending task: all of them died with the queues."""
        ...

    def due_before(self, horizon: int, limit: int) -> list[Timer]:
        """Timers due before `horizon` (epoch ms), earliest first."""
        ...

    def tree(
        self, origin: str, limit: int, cursor: Cursor = START
    ) -> list[tuple[Promise, Task | None]]:
        """The promises of one tree, oldest first, as recorded: those after the cursor."""
        ...

    def search(self, query: TaskSearch) -> list[tuple[Promise, Task | None]]:
        """The tasks a query asks for, with their promises, as recorded.

        One whose promise is past its deadline is done with, and in no other state.
        """
        ...

    def tagged(self, query: PromiseSearch) -> list[tuple[Promise, Task | None]]:
        """The promises that have a tag, with their tasks, as recorded."""
        ...

    def timetable(self, limit: int, cursor: Cursor = START) -> list[Schedule]:
        """The schedules by id, as recorded: those after the cursor."""
        ...

    def trial(self) -> None:
        """Commit an empty transaction; raises LedgerUnavailable when that fails."""
        ...

    def close(self) -> None: ...


class Executor(Protocol):
    """Runs leaves, off the polling thread."""

    def submit(
        self,
        work: Callable[[], Any],
        done: Callable[[Any, BaseException | None], None],
        *,
        is_async: bool,
    ) -> None:
        """Run `work` (await what it answers, if `is_async`); call `done` on any thread."""
        ...

    def may_wait(self, settled: Future[Any]) -> bool:
        """Whether the caller's thread may wait for this, and work still be done meanwhile.

        It counts as waiting until this is settled, or its work has ended.
        """
        ...

    def close(self) -> None:
        """Take no more work; what runs is left to itself."""
        ...


class Telemetry(Protocol):
    """What happened to a durable function, as it happens."""

    def started(self, promise_id: str, function: str, version: int) -> None:
        """`version` is that of the function, not that of its task or lease."""
        ...

    def finished(self, promise_id: str, function: str, outcome: str, duration_ms: float) -> None:
        """`outcome` is resolved, rejected, suspended, released, halted or lost."""
        ...

    def called(self, promise_id: str, parent_id: str, function: str, kind: str) -> None: ...


class Failpoint(StrEnum):
    """The places where a crash, a pause or a cut matters, in the order of a call's life."""

    PROMOTION_PUBLISHED = "promotion.published"
    CREATE_COMMITTED = "create.committed"
    FULFILL_COMMITTED = "fulfill.committed"
    BATCH_COMMITTED = "batch.committed"
    BATCH_PUBLISHED = "batch.published"
    OUTBOX_CONFIRMED = "outbox.confirmed"
    MIRROR_WRITTEN = "mirror.written"
    EXECUTE_DELIVERED = "execute.delivered"
    ACQUIRE_ANSWERED = "acquire.answered"
    BODY_START = "body.start"
    BODY_FULFILL = "body.fulfill"
    FULFILL_ANSWERED = "fulfill.answered"
    UNBLOCK_HEARD = "unblock.heard"
    SUSPEND_ANSWERED = "suspend.answered"
    LEASE_ASKED = "lease.asked"
    LEASE_ANSWERED = "lease.answered"


class Failpoints(Protocol):
    """Named places where a test may kill, pause or cut the process."""

    @property
    def armed(self) -> bool:
        """Whether anything happens at any place; false spares the work of finding out where."""
        ...

    def reach(self, name: Failpoint) -> None: ...
