"""Post: what one turn has to say, one message per address.

Replies and unblocks are hints: they are transient, because whoever misses one asks again.
"""

from __future__ import annotations

from collections import defaultdict

from resonate_amqp.ports import Broker
from resonate_amqp.wire.address import is_ledger_queue, is_reply_queue
from resonate_amqp.wire.envelope import MAX_MESSAGE_BYTES, encode_replies


class Post:
    """Collects encoded replies and unblocks by address, until `send`."""

    def __init__(self) -> None:
        self._replies: dict[str, list[bytes]] = defaultdict(list)
        self._unblocks: dict[str, list[bytes]] = defaultdict(list)

    def reply(self, address: str, reply: bytes) -> None:
        """Whoever names another kind of queue gets no answer, and no way to write into it."""
        if is_reply_queue(address) or is_ledger_queue(address):
            self._replies[address].append(reply)

    def unblock(self, address: str, unblock: bytes) -> None:
        self._unblocks[address].append(unblock)

    def send(self, broker: Broker, now: int, owners: tuple[int, ...] = ()) -> None:
        """Publish everything, split where a message would exceed MAX_MESSAGE_BYTES."""
        for address in dict.fromkeys((*self._replies, *self._unblocks)):
            replies = self._replies.get(address, [])
            unblocks = self._unblocks.get(address, [])
            if sum(map(len, replies)) + sum(map(len, unblocks)) < MAX_MESSAGE_BYTES // 2:
                broker.publish(
                    address,
                    encode_replies(now, replies, unblocks, owners),
                    persistent=is_ledger_queue(address),
                )
                continue
            for reply in replies:
                broker.publish(address, encode_replies(now, [reply], []))
            for unblock in unblocks:
                broker.publish(address, encode_replies(now, [], [unblock]))
        self._replies.clear()
        self._unblocks.clear()
