"""Queues: where a worker's tasks come from, consumed again whenever the broker ends it."""

from __future__ import annotations

import logging

from resonate_amqp.ports import ConsumerLost, Event, Opened, Refused
from resonate_amqp.runtime.session import Session
from resonate_amqp.settings import Settings
from resonate_amqp.wire.topology import target_queue

log = logging.getLogger(__name__)

AGAIN_MS = 1_000
REFUSED_AGAIN_MS = 5_000


class Queues:
    """The group's queue and the process's own."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self._session = session
        self._prefetch = settings.prefetch
        self._passive = settings.topology == "passive"
        self._queues = [
            target_queue(f"poll://any@{session.group}", settings.queue_type),
            target_queue(f"poll://uni@{session.group}/{session.pid}", settings.queue_type),
        ]
        self._without: set[str] = set()
        self.consuming = False

    def start(self) -> None:
        if not self.consuming:
            self.consuming = True
            self._consume()

    def stop(self) -> None:
        """Take nothing more; what is unacknowledged stays ours."""
        self.consuming = False
        for queue in self._queues:
            self._session.cancel(queue.name)

    def limit(self, prefetch: int) -> None:
        """How many deliveries the broker may leave unacknowledged; 0 takes none."""
        self._prefetch = prefetch
        if self.consuming:
            for queue in self._queues:
                if prefetch:
                    self._session.consume(queue, prefetch=prefetch, passive=self._passive)
                else:
                    self._session.cancel(queue.name)

    def take(self, event: Event) -> str:
        """Take note of what happened; answers the queue whose deliveries are void, if any."""
        match event:
            case Opened():
                self._without.clear()
                self._consume_again()
            case ConsumerLost(queue=queue, reason=reason) if self._ours(queue):
                log.warning("lost the consumer of %s: %s", queue, reason)
                self._session.later(AGAIN_MS, self._consume_again)
                return queue
            case Refused(queue=queue) if self._ours(queue):
                if self._passive and queue != self._queues[0].name:
                    # Nobody can have created the queue of a pid that was drawn at this start.
                    self._without.add(queue)
                self._session.later(REFUSED_AGAIN_MS, self._consume_again)
            case _:
                pass
        return ""

    def _ours(self, name: str) -> bool:
        return any(queue.name == name for queue in self._queues)

    def _consume_again(self) -> None:
        if self.consuming:
            self._consume()

    def _consume(self) -> None:
        wanted = self._queues if self._prefetch else []
        for queue in [one for one in wanted if one.name not in self._without]:
            self._session.consume(queue, prefetch=self._prefetch, passive=self._passive)
