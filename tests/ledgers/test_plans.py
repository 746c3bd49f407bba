"""Queries of a ledger that holds millions: each finds its rows by an index."""

from __future__ import annotations

import pytest
from sqlalchemy.sql import Select

from resonate_amqp.core.model import TaskState
from resonate_amqp.ledgers import queries, schema
from resonate_amqp.ledgers.database import connect
from resonate_amqp.ledgers.schedules import DUE

PLANNED = {
    "deadlines": (queries.DUE_PROMISES, "ix_promises_due"),
    "leases": (queries.DUE_LEASES, "ix_tasks_lease"),
    "delays": (queries.DUE_RETRIES, "ix_tasks_retry"),
    "offers": (queries.SEARCHED[TaskState.PENDING], "ix_tasks_offered"),
    "leases held for long": (queries.SEARCHED[TaskState.ACQUIRED], "ix_tasks_acquired"),
    "the halted": (queries.SEARCHED[TaskState.HALTED], "ix_tasks_halted"),
    "a tree": (queries.TREE, "ix_promises_origin"),
    "schedules": (DUE, "ix_schedules_due"),
}
BOUND = {"of": 0, "horizon": 1, "before": 1, "most": 10, "root": "r"}


@pytest.mark.parametrize("what", list(PLANNED))
def test_rows_are_found_by_an_index(what: str, sqlite_url: str) -> None:
    statement, index = PLANNED[what]
    schema.prepare(sqlite_url)
    assert isinstance(statement, Select)
    connection = connect(sqlite_url)
    try:
        compiled = str(statement.compile(dialect=connection.dialect))
        names = statement.compile(dialect=connection.dialect).positiontup or []
        explained = connection.exec_driver_sql(
            f"EXPLAIN QUERY PLAN {compiled}", tuple(BOUND.get(name, 1) for name in names)
        )
        plan = "\n".join(row[3] for row in explained)
    finally:
        connection.close()
        connection.engine.dispose()
    assert f"USING INDEX {index}" in plan or f"USING COVERING INDEX {index}" in plan, plan
