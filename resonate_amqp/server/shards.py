"""Shards: which ledger queue keeps what, and passing on what came to the wrong one.

Ownership is data: a ledger reads it when it is promoted. A client that knows it coalesces its
groups by queue; one that does not sends them anywhere.
"""

from __future__ import annotations

from collections import defaultdict

from resonate_amqp.core.model import shard_of
from resonate_amqp.core.requests import Group
from resonate_amqp.ports import Broker
from resonate_amqp.server.intake import Asked, Load
from resonate_amqp.wire.address import ledger_queue
from resonate_amqp.wire.envelope import encode_group, encode_requests


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

    def pass_on(self, load: Load) -> None:
        """Send the groups of a load that are another queue's there, and keep ours."""
        if not self.divided:
            return
        kept: list[Asked] = []
        elsewhere: dict[tuple[int, str], list[bytes]] = defaultdict(list)
        for one in load.asked:
            queue = self._owner(one.group)
            if queue == self._number:
                kept.append(one)
            else:
                elsewhere[queue, one.reply_to].append(encode_group(one.group))
        load.asked[:] = kept
        for (queue, reply_to), groups in elsewhere.items():
            self._broker.publish(
                ledger_queue(queue), encode_requests(groups), mandatory=True, reply_to=reply_to
            )

    def _owner(self, group: Group) -> int:
        """A group is about the first promise it names; a search is about whoever gets it."""
        about = group.about
        return self.owners[shard_of(about)] if about else self._number
