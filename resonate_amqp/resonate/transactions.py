"""Transactions: calls that an application records in transactions of its own, and their relays."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from resonate_amqp.core.requests import PromiseCreate
from resonate_amqp.resonate.machine import SystemClock
from resonate_amqp.resonate.node import Node

if TYPE_CHECKING:
    from resonate_amqp.ledgers.calls import Engine, Transaction
    from resonate_amqp.resonate.relay import Relay


class Transactions:
    """What class Resonate offers to those who have a database; SQLAlchemy is loaded on use."""

    def __init__(self) -> None:
        super().__init__()
        self._relays: list[Relay] = []

    def create_in(
        self,
        session: Transaction,
        promise_id: str,
        func: str | Callable[..., Any],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Record a call in the transaction of a SQLAlchemy or SQLModel session or connection.

        A relay sends it after the commit; after a rollback there is nothing to send. Connects to
        nothing. Raises UsageError for a call that cannot be, and when the table is missing.
        """
        from resonate_amqp.ledgers import calls

        now = SystemClock().now()
        calls.add(session, self._call_at(now, promise_id, func, args, kwargs), now)

    def create_calls_table(self, engine: Engine) -> None:
        """Create the table that `create_in` needs, in the application's database."""
        from resonate_amqp.ledgers import calls

        calls.create_table(engine)

    def relay(self, engine: Engine) -> Relay:
        """Send what `create_in` records in that database, until this instance is stopped.

        Raises UsageError when the table is missing.
        """
        from resonate_amqp.resonate.relay import Relay

        relay = Relay(engine, self._joined)
        self._relays.append(relay)
        return relay

    def _stop_relays(self) -> None:
        while self._relays:
            self._relays.pop().stop()

    def _call_at(self, now: int, promise_id: str, func: Any, *given: Any) -> PromiseCreate:
        """The request of a call that is made at `now`; `given` are args and kwargs."""
        raise NotImplementedError

    def _joined(self) -> Node:
        raise NotImplementedError
