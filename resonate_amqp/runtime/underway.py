"""UnderWay: the leaves of one body that run in this process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from resonate_amqp.core.model import Promise
from resonate_amqp.runtime.leaves import Attempts, Leaves
from resonate_amqp.runtime.replay import Leaf, Replay

Tell = Callable[..., None]


class UnderWay:
    """`told` is given what a leaf tells its replay, to be told when the body may hear it."""

    def __init__(
        self, leaves: Leaves, replay: Replay, told: Callable[[Callable[[int], None]], None]
    ) -> None:
        self._leaves = leaves
        self._replay = replay
        self._told = told
        self._running: set[str] = set()
        self._attempts: dict[str, Attempts] = {}

    def __len__(self) -> int:
        """How many leaves run, or wait for their next attempt."""
        return len(self._running)

    def start(self, leaf: Leaf, promise: Promise) -> None:
        """Run a leaf of the body of this promise."""
        self._running.add(leaf.id)
        done = partial(self._heard, leaf.id, self._replay.leaf_done)
        turned = partial(self._heard, leaf.id, self._replay.turned)
        self._attempts[leaf.id] = self._leaves.run(leaf, promise, done, turned)

    def abandon(self, leaf_id: str) -> None:
        """Cancel a leaf; one that runs in a thread goes on there, and is not heard."""
        self._running.discard(leaf_id)
        attempts = self._attempts.pop(leaf_id, None)
        if attempts is not None:
            attempts.abandon(cancel=True)

    def close(self) -> None:
        """Hear of none of them any more."""
        for attempts in self._attempts.values():
            attempts.abandon()

    def _heard(self, leaf_id: str, tell: Tell, *what: Any) -> None:
        """A leaf has ended, or is none any more."""
        self._running.discard(leaf_id)
        self._told(lambda now: tell(leaf_id, *what, now))
