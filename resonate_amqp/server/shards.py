"""Shards: which ledger queue keeps what, and passing on what came to the wrong one.

Ownership is data: a ledger reads it when it is promoted. A client that knows it coalesces its
groups by queue; one that does not sends them anywhere.
"""

from __future__ import annotations

from collections import defaultdict

from resonate_amqp.core.model import shard_of
from resonate_amqp.core.requests import Group, Query, footprint
from resonate_amqp.ports import Broker
from resonate_amqp.server.intake import Asked, Load
from resonate_amqp.wire.address import ledger_queue
from resonate_amqp.wire.envelope import BadGroup, encode_group, requests_of


class Shards:
    """`owners` is the number of the queue that keeps each shard; `number` is our own."""

    def __init__(self, broker: Broker, number: int, owners: tuple[int, ...]) -> None:
        self._broker = broker
        self._number = number
        self.owners = owners

    @property
    def divided(self) -> bool:
        """Whether there is more than one ledger queue."""
        return len(set(self.owners)) > 1

    def own(self) -> tuple[int, ...]:
        return tuple(shard for shard, queue in enumerate(self.owners) if queue == self._number)

    def pass_on(self, load: Load) -> bool:
        """Send the groups of a load that are another queue's there, and keep ours.

        Answers whether there were any; replies are only sorted out. A group about promises of
        several queues is nobody's: it would be applied to records that another ledger writes.
        """
        if set(self.owners) == {self._number}:
            return False
        kept: list[Asked] = []
        elsewhere: dict[tuple[int, str], list[bytes]] = defaultdict(list)
        for one in load.asked:
            queues = self._owners(one.group)
            if len(queues) > 1:
                load.bad.append((_torn(one.group), one.reply_to))
            elif queues == {self._number}:
                kept.append(one)
            else:
                elsewhere[queues.pop(), one.reply_to].append(encode_group(one.group))
        load.asked[:] = kept
        for one in list(load.reports):
            queue = self.owners[shard_of(one.group.about)]
            if queue != self._number:
                load.reports.remove(one)
                load.elsewhere.append((one.delivery, ledger_queue(queue)))
        for (queue, reply_to), groups in elsewhere.items():
            for body in requests_of(groups):
                self._broker.publish(ledger_queue(queue), body, mandatory=True, reply_to=reply_to)
        return bool(elsewhere or load.elsewhere)

    def _owners(self, group: Group) -> set[int]:
        """The queues whose promises a group is about; a search is about whoever gets it."""
        if group.query is not None:
            return {self.owners[shard_of(group.about)] if group.about else self._number}
        return {
            self.owners[shard_of(promise_id)]
            for step in group.steps
            if not isinstance(step, Query)
            for promise_id in footprint(step)
        } or {self._number}


def _torn(group: Group) -> BadGroup:
    error = "it is about promises that different ledger queues keep; send a group for each"
    return BadGroup(group.id, group.steps[0].kind, error)
