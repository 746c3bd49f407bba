"""Mail: which messages are delivered twice, and which are lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from resonate_amqp.brokers.faults import Fate
from resonate_amqp.server.intake import PROBE
from resonate_amqp.wire.address import DEAD_QUEUE, PREFIX, REPLY_PREFIX, ledger_queue

Kind = Literal["request", "execute", "reply"]
"""To the ledger; a task offered to a group; from the ledger to whoever asked or waits."""

KINDS: tuple[Kind, ...] = ("request", "execute", "reply")


@dataclass(slots=True)
class _Rule:
    kind: Kind | None
    fate: Fate
    left: int | None


class Mail:
    """Decides the fate of each message; satisfies `brokers.memory.Faults`."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []

    def add(self, kind: Kind | None, fate: Fate, times: int | None) -> None:
        """From now on: the next `times` messages of this kind, or all; every kind if None."""
        self._rules.append(_Rule(kind, fate, times))

    def __call__(self, queue: str, body: bytes, _persistent: bool) -> Fate:
        kind = _kind(queue)
        if kind is None or body == PROBE:
            return Fate.DELIVER
        for rule in self._rules:
            if rule.left != 0 and rule.kind in (None, kind):
                if rule.left is not None:
                    rule.left -= 1
                return rule.fate
        return Fate.DELIVER


def _kind(queue: str) -> Kind | None:
    if queue.startswith(REPLY_PREFIX):
        return "reply"
    if queue.startswith(ledger_queue(0)[:-1]):
        return "request"
    return "execute" if queue.startswith(PREFIX) and queue != DEAD_QUEUE else None
