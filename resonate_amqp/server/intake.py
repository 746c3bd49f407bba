"""Intake: deliveries of the ledger queue, read into groups, bounded for one transaction."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from resonate_amqp.core.requests import Group
from resonate_amqp.errors import ForeignVersion, Malformed
from resonate_amqp.ports import Delivery
from resonate_amqp.server.foreign import report_of
from resonate_amqp.wire.envelope import BadGroup, Replies, decode_replies, decode_requests

MOST_GROUPS = 512
PROBE = b'{"kind":"probe"}'
REPLIES = b'{"kind":"replies"'


@dataclass(frozen=True, slots=True)
class Asked:
    """A group with where its answer goes and the delivery it came by."""

    group: Group
    reply_to: str
    delivery: Delivery
    is_report: bool = False
    """Whether the delivery is a callee's reply: then nobody is answered."""


@dataclass(slots=True)
class Load:
    """What one transaction will answer, and the deliveries that are done with once it has."""

    asked: list[Asked] = field(default_factory=list)
    reports: list[Asked] = field(default_factory=list)
    """What replies say of their promises; their deliveries are not among `deliveries`."""
    elsewhere: list[tuple[Delivery, str]] = field(default_factory=list)
    """Replies about promises that another ledger keeps, with the name of its queue."""
    bad: list[tuple[BadGroup, str]] = field(default_factory=list)
    dead: list[tuple[Delivery, str]] = field(default_factory=list)
    replies: list[Replies] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)


class Intake:
    """Deliveries that wait for the next transaction."""

    def __init__(self) -> None:
        self._waiting: deque[Delivery] = deque()

    def add(self, delivery: Delivery) -> None:
        self._waiting.append(delivery)

    def clear(self) -> None:
        self._waiting.clear()

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> Load:
        """Read deliveries until MOST_GROUPS groups are together, whole deliveries at a time."""
        load = Load()
        while self._waiting and len(load.asked) + len(load.reports) < MOST_GROUPS:
            delivery = self._waiting.popleft()
            if delivery.body == PROBE:
                load.deliveries.append(delivery)
                continue
            try:
                if delivery.body.startswith(REPLIES):
                    load.replies.append(decode_replies(delivery.body))
                    load.deliveries.append(delivery)
                    continue
                groups = decode_requests(delivery.body)
            except Malformed as error:
                if delivery.correlation_id and not isinstance(error, ForeignVersion):
                    _read_reply(delivery, load)
                else:
                    load.dead.append((delivery, str(error)))
                continue
            load.deliveries.append(delivery)
            for group in groups:
                if isinstance(group, BadGroup):
                    load.bad.append((group, delivery.reply_to))
                else:
                    load.asked.append(Asked(group, delivery.reply_to, delivery))
        return load


def _read_reply(delivery: Delivery, load: Load) -> None:
    try:
        load.reports.append(Asked(report_of(delivery), "", delivery, is_report=True))
    except Malformed as error:
        load.dead.append((delivery, str(error)))
