"""What holds of every state and of every transition, by the names the protocol gives it.

The tables map a property's name to its check. Names are the protocol's. Those that it lacks stand
at the end of each table and belong to our extensions: holders and tickets, the last holder, moved
leases, the `offered` flag, outbox rows, cancellation of trees, and listeners that wait for their
unblock to be published.
"""

from __future__ import annotations

from resonate_amqp.core.invariants.state import State, check_state
from resonate_amqp.core.invariants.step import check_step

__all__ = ["State", "check_state", "check_step"]
