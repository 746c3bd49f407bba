"""Connections to PostgreSQL that are given up, by either side, when the other falls silent.

A host that is lost must not hold the row of its queue for hours, and a ledger whose server does
not answer must find out soon enough for a rival to be elected.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any, TypeVar

import psycopg

T = TypeVar("T")

ANSWER_WITHIN_S = 6.0
"""A little more than `lock_timeout`, so that the server names the reason where there is one."""

NAME = "resonate_amqp ledger"
"""What a ledger's sessions are called on the server, unless the url says otherwise."""

SESSION = {
    "idle_in_transaction_session_timeout": "5s",
    "lock_timeout": "5s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "5s",
}
"""What the server is told: how it notices that we are gone."""

EVICT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
  AND application_name = current_setting('application_name')
  AND xact_start IS NOT NULL AND wait_event_type = 'Client'
  AND greatest(query_start, state_change) < clock_timestamp() - interval '5 s'
"""
"""Ends the sessions of ledgers that stopped speaking in the middle of a transaction.

The server's own timeout spares whoever is silent between two messages of a pipeline.
"""

CLIENT = {
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "5000",
}
"""What our own end is told: how we notice that the server is gone."""


class ImpatientConnection(psycopg.Connection[Any]):
    """A connection that is closed when the server leaves a statement unanswered.

    TCP notices a lost host; it does not notice a server that is stopped, or a proxy that
    swallows what it is sent.
    """

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:
        return super().wait(self._limited(gen), *args, **kwargs)

    def _limited(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        deadline = time.monotonic() + ANSWER_WITHIN_S
        try:
            asked = next(gen)
            while True:
                ready = yield asked
                # Nothing is ready: the driver wakes us several times a second to say so.
                if not ready and time.monotonic() > deadline:
                    self.close()
                    raise psycopg.OperationalError(
                        f"the server has not answered for {ANSWER_WITHIN_S:g} s"
                    )
                asked = gen.send(ready)
        except StopIteration as end:
            answer: T = end.value
            return answer


def arguments(given: Mapping[str, Any], *, patient: bool) -> dict[str, str]:
    """The connection's parameters, in addition to those `given` in the url, which prevail."""
    limits = SESSION if patient else SESSION | {"statement_timeout": f"{ANSWER_WITHIN_S:g}s"}
    session = " ".join(f"-c {name}={value}" for name, value in limits.items())
    ours = CLIENT | {"application_name": f"{NAME} schema" if patient else NAME}
    missing = {name: value for name, value in ours.items() if name not in given}
    return missing | {"options": f"{session} {given.get('options', '')}".strip()}


def connect(
    _dialect: object, _record: object, positional: Sequence[Any], named: dict[str, Any]
) -> psycopg.Connection[Any]:
    """SQLAlchemy's `do_connect`: an impatient connection."""
    return ImpatientConnection.connect(*positional, **named)
