"""Calls: the groups that await the ledger's answer.

A group keeps its id and its steps until it is answered: it is sent again after 2, 4, 8 … 30 s,
and at once when the reply queue is a new one. The ledger recognises the repetition.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from resonate_amqp.core.requests import Group, PromiseRegisterListener, Query, Request
from resonate_amqp.errors import BrokerError, LedgerError, ResonateError
from resonate_amqp.ports import Broker, Clock, Random
from resonate_amqp.runtime.alarms import Alarm, Alarms
from resonate_amqp.wire.address import EXCHANGE, shard_key
from resonate_amqp.wire.envelope import Reply, encode_group, encode_requests

FIRST_WAIT_MS = 2_000
LONGEST_WAIT_MS = 30_000
MESSAGE_BYTES = 1024 * 1024

Answered = Callable[[Reply | ResonateError], None]
"""Told the reply, or why there will be none."""


@dataclass(slots=True, eq=False)
class _Call:
    group: Group
    key: str
    answered: Answered
    wait_ms: int = FIRST_WAIT_MS
    repeat: Alarm | None = None
    expiry: Alarm | None = None
    encoded: bytes = b""
    encoded_for: str = ""


@dataclass(slots=True)
class Trouble:
    """What last kept a group from being answered, for the error a caller gets."""

    disconnected: str = "not connected yet"
    unroutable: str = ""
    foreign: str = ""
    """Why the ledger's answers cannot be read."""


class Calls:
    """Open groups; everything sent in one turn is one message."""

    def __init__(self, broker: Broker, clock: Clock, random: Random, alarms: Alarms) -> None:
        self.trouble = Trouble()
        self._broker = broker
        self._clock = clock
        self._random = random
        self._alarms = alarms
        self._open: dict[str, _Call] = {}
        self._unsent: dict[str, _Call] = {}
        self._address = ""
        self.owners: tuple[int, ...] = ()

    def send(
        self,
        steps: Sequence[Request | Query],
        answered: Answered,
        *,
        about: str,
        key: str = "",
        timeout_ms: int | None = None,
    ) -> str:
        """Send a group with the next flush; answers its id.

        `about` is the promise whose shard answers, unless a routing `key` names the queue. With
        a timeout, `answered` gets a BrokerError or LedgerError when no answer came; without one
        the group is repeated until `drop`.
        """
        group_id = self._random.token()
        call = _Call(Group(id=group_id, steps=tuple(steps)), key or shard_key(about), answered)
        self._open[group_id] = call
        self._unsent[group_id] = call
        if timeout_ms is not None:
            due = self._clock.monotonic() + timeout_ms
            call.expiry = self._alarms.at(due, lambda: self._expire(group_id, timeout_ms))
        return group_id

    def drop(self, group_id: str) -> None:
        """Repeat a group no more; its answer, if it comes, is ignored."""
        call = self._open.pop(group_id, None)
        self._unsent.pop(group_id, None)
        if call is not None:
            for alarm in (call.repeat, call.expiry):
                if alarm is not None:
                    alarm.cancel()

    def take(self, reply: Reply) -> None:
        call = self._open.get(reply.id)
        if call is not None:
            self.drop(reply.id)
            call.answered(reply)

    def readdress(self, address: str) -> None:
        """There is a new reply queue: every open group is repeated, naming it."""
        self._address = address
        if address:
            self.repeat_all()

    def repeat_all(self) -> None:
        self._unsent.update(self._open)

    def fail_all(self, error: ResonateError) -> None:
        """Give up every group that has a timeout: repeating it cannot help."""
        for group_id, call in list(self._open.items()):
            if call.expiry is not None:
                self.drop(group_id)
                call.answered(error)

    def flush(self) -> None:
        """Publish what is unsent, in order, in as few messages as its size allows."""
        if not self._unsent or not self._address or not self._broker.connected():
            return
        calls, self._unsent = list(self._unsent.values()), {}
        for key, of_queue in self._by_queue(calls).items():
            self._publish_all(key, of_queue)

    def _by_queue(self, calls: list[_Call]) -> dict[str, list[_Call]]:
        """Calls by a key of the ledger queue they belong to; all together while there is one."""
        if not self.owners:
            return {calls[0].key: calls}
        queues: dict[int, list[_Call]] = defaultdict(list)
        for call in calls:
            queues[self.owners[int(call.key, 16)]].append(call)
        return {of_queue[0].key: of_queue for of_queue in queues.values()}

    def _publish_all(self, key: str, calls: list[_Call]) -> None:
        bodies: list[bytes] = []
        size = 0
        for call in calls:
            encoded = self._encoded(call)
            if bodies and size + len(encoded) > MESSAGE_BYTES:
                self._publish(key, bodies)
                bodies, size = [], 0
            bodies.append(encoded)
            size += len(encoded)
            self._arm(call)
        self._publish(key, bodies)

    def keys_but(self, key: str) -> list[str]:
        """One routing key for each ledger queue but that of `key`, as far as they are known."""
        first: dict[int, str] = {}
        for shard, queue in enumerate(self.owners):
            first.setdefault(queue, f"{shard:02x}")
        if self.owners:
            del first[self.owners[int(key, 16)]]
        return list(first.values())

    def __len__(self) -> int:
        return len(self._open)

    def _publish(self, key: str, bodies: list[bytes]) -> None:
        self._broker.publish(
            key,
            encode_requests(bodies),
            exchange=EXCHANGE,
            mandatory=True,
            reply_to=self._address,
        )

    def _encoded(self, call: _Call) -> bytes:
        if call.encoded_for != self._address:
            steps = tuple(
                replace(step, address=self._address)
                if isinstance(step, PromiseRegisterListener)
                else step
                for step in call.group.steps
            )
            call.encoded = encode_group(Group(id=call.group.id, steps=steps))
            call.encoded_for = self._address
        return call.encoded

    def _arm(self, call: _Call) -> None:
        if call.repeat is not None:
            call.repeat.cancel()
        due = self._clock.monotonic() + call.wait_ms
        call.wait_ms = min(2 * call.wait_ms, LONGEST_WAIT_MS)
        group_id = call.group.id
        call.repeat = self._alarms.at(due, lambda: self._repeat(group_id))

    def _repeat(self, group_id: str) -> None:
        call = self._open.get(group_id)
        if call is not None:
            self._unsent[group_id] = call

    def _expire(self, group_id: str, timeout_ms: int) -> None:
        call = self._open.get(group_id)
        if call is not None:
            self.drop(group_id)
            call.answered(self.explained(timeout_ms))

    def explained(self, timeout_ms: int) -> ResonateError:
        """Why a call was not answered within its time."""
        after = f"within {timeout_ms / 1000:g} s"
        if self.trouble.disconnected:
            return BrokerError(
                f"the broker was not reached {after}: {self.trouble.disconnected}; check the url "
                "and that the broker runs, then call the same id again"
            )
        if self.trouble.unroutable:
            return BrokerError(
                f"no ledger has ever run on this broker and virtual host "
                f"({self.trouble.unroutable}); start one: resonate-amqp ledger serve"
            )
        if self.trouble.foreign:
            return LedgerError(
                f"the ledger was not understood {after}, so whether it recorded the call is "
                f"unknown: {self.trouble.foreign}"
            )
        return LedgerError(
            f"the ledger did not answer {after}; whether it recorded the call is unknown. Check "
            "that `resonate-amqp ledger serve` runs, then call the same id again"
        )
