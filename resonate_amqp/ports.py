"""The ports: what the runtime and the ledger service need of the world, and nothing more.

Adapters satisfy them structurally. Worker and service are step functions: they are handed the
events of one poll, and publish, acknowledge and sleep only through these ports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from resonate_amqp.core.model import Promise, Task
from resonate_amqp.core.requests import Group, Response
from resonate_amqp.core.timers import Timer
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

    `unroutable` names the routing key when no queue would take the message.
    """

    tokens: tuple[int, ...]
    unroutable: str = ""


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

    def consume(self, queue: Queue, *, prefetch: int, auto_ack: bool = False) -> None:
        """Declare the queue as `declare` does, then consume it; answered by `Consuming`."""
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

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Execute:
    """A task to be offered to its target, with the outbox row's serial."""

    serial: int
    target: str
    promise: Promise
    version: int


@dataclass(frozen=True, slots=True)
class Unblock:
    """A settled promise to be sent to a listener's address."""

    address: str
    promise: Promise


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction of a ledger is to record.

    `confirmed` are outbox serials whose execute the broker has; `notified` are pairs of promise
    id and address whose unblock was published.
    """

    groups: Sequence[Group] = ()
    timers: Sequence[Timer] = ()
    confirmed: Sequence[int] = ()
    notified: Sequence[tuple[str, str]] = ()
    heard_since: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a committed transaction answered, and what is to be sent because of it.

    `void` are the ids of tasks whose outbox rows it deleted.
    """

    now: int
    answers: tuple[tuple[Response, ...], ...]
    executes: tuple[Execute, ...]
    unblocks: tuple[Unblock, ...]
    timers: tuple[Timer, ...]
    void: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a promoted ledger finds that may not have been published."""

    executes: tuple[Execute, ...]
    unblocks: tuple[Unblock, ...]


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

    def tree(self, origin: str, limit: int) -> list[tuple[Promise, Task | None]]:
        """The promises of one tree, oldest first, as recorded."""
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

    def close(self) -> None:
        """Take no more work; what runs is left to itself."""
        ...


class Telemetry(Protocol):
    """What happened to a durable function, as it happens."""

    def started(self, promise_id: str, function: str, version: int) -> None: ...

    def finished(self, promise_id: str, function: str, outcome: str, duration_ms: float) -> None:
        """`outcome` is resolved, rejected, suspended, released, halted or lost."""
        ...

    def called(self, promise_id: str, parent_id: str, function: str, kind: str) -> None: ...


class Failpoints(Protocol):
    """Named places where a test may kill, pause or cut the process."""

    def reach(self, name: str) -> None: ...
