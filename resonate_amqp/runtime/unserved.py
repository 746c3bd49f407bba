"""Unserved: says that nobody takes the calls of a group, once, to whoever made them."""

from __future__ import annotations

import logging

from resonate_amqp.ports import Broker, Clock, Inspected
from resonate_amqp.runtime.alarms import Alarms
from resonate_amqp.wire.address import any_queue, group_of

log = logging.getLogger(__name__)

PATIENCE_MS = 5_000
"""How long a call may wait for a worker before somebody looks."""
TRUSTED_MS = 60_000
"""How long a group that has workers is not looked at again."""


class Unserved:
    """Looks at a group's queue a while after a call to it; a queue with a consumer is well.

    A message that waits there without one is a call that nobody takes. It needs no right but that
    of a passive declaration.
    """

    def __init__(self, broker: Broker, clock: Clock, alarms: Alarms) -> None:
        self._broker = broker
        self._clock = clock
        self._alarms = alarms
        self._looked_at: dict[str, int] = {}
        self._asked: dict[str, str] = {}
        self._told: set[str] = set()

    def called(self, target: str) -> None:
        """A function was called at this target; an empty one leads to no group."""
        group = group_of(target) if target else ""
        now = self._clock.monotonic()
        if not group or now < self._looked_at.get(group, now):
            return
        self._looked_at[group] = now + PATIENCE_MS + TRUSTED_MS
        self._alarms.at(now + PATIENCE_MS, lambda: self._look(group), routine=True)

    def inspected(self, event: Inspected) -> None:
        """The broker has told of a queue."""
        group = self._asked.pop(event.queue, None)
        if group is None or event.messages is None or event.consumers is None:
            return
        if event.consumers or not event.messages:
            self._told.discard(group)
        elif group not in self._told:
            self._told.add(group)
            log.warning(
                "nobody takes the calls of group %r: no worker consumes %s, where %d wait; start "
                "one: a program that registers functions in this group and calls resonate.start(), "
                "or `resonate-amqp worker run MODULE:ATTR`",
                group,
                event.queue,
                event.messages,
            )

    def _look(self, group: str) -> None:
        queue = any_queue(group)
        self._asked[queue] = group
        self._broker.inspect(queue)
