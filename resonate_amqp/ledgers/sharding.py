"""Sharding: dividing a ledger's shards among queues. Ownership is a row in the database."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from resonate_amqp.core.model import SHARDS
from resonate_amqp.errors import UsageError
from resonate_amqp.ledgers.database import connect, unavailable
from resonate_amqp.ledgers.queries import OWNERS
from resonate_amqp.ledgers.tables import ledger_queues, shards


def owners(url: str) -> tuple[int, ...]:
    """The number of the queue that keeps each shard; raises LedgerUnavailable."""
    connection = connect(url)
    try:
        with connection.begin():
            return _owners(connection)
    except SQLAlchemyError as error:
        raise unavailable(url, error) from error
    finally:
        connection.close()
        connection.engine.dispose()


def queues(url: str) -> tuple[int, ...]:
    """Every ledger queue there has been: one that keeps nothing any more may hold messages, and
    be bound for shards it kept, until a ledger serves it again.

    Raises LedgerUnavailable.
    """
    connection = connect(url)
    try:
        with connection.begin():
            return tuple(connection.execute(select(ledger_queues.c.queue)).scalars())
    except SQLAlchemyError as error:
        raise unavailable(url, error) from error
    finally:
        connection.close()
        connection.engine.dispose()


def reshard(url: str, queues: int) -> tuple[int, ...]:
    """Divide the shards among this many queues, in blocks; answers who keeps what.

    Every queue concerned gets a new generation, so that its ledger finds itself superseded at
    its next write and reads the ownership again. Time is the latest of all, for all of them.
    """
    if not 1 <= queues <= SHARDS:
        raise UsageError(f"{queues} queues are not possible: there are {SHARDS} shards")
    connection = connect(url)
    try:
        with connection.begin():
            # Locked first: a batch that commits meanwhile would be later than the time read here.
            rows = connection.execute(select(ledger_queues).with_for_update()).all()
            known = {row.queue for row in rows}
            now = max(row.now for row in rows)
            before = _owners(connection)
            after = tuple(shard * queues // SHARDS for shard in range(SHARDS))
            for queue in sorted(set(after) - known):
                row = {"queue": queue, "generation": 0, "now": now}
                connection.execute(insert(ledger_queues).values(row))
            moved = [shard for shard in range(SHARDS) if before[shard] != after[shard]]
            for shard in moved:
                statement = update(shards).where(shards.c.shard == shard)
                connection.execute(statement.values(queue=after[shard]))
            concerned = {before[shard] for shard in moved} | {after[shard] for shard in moved}
            connection.execute(
                update(ledger_queues)
                .where(ledger_queues.c.queue.in_(concerned))
                .values(generation=ledger_queues.c.generation + 1, now=now)
            )
        return after
    except SQLAlchemyError as error:
        raise unavailable(url, error) from error
    finally:
        connection.close()
        connection.engine.dispose()


def _owners(connection: Connection) -> tuple[int, ...]:
    return tuple(connection.execute(OWNERS).scalars())
