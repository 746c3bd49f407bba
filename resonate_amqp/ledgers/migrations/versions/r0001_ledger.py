"""The ledger: promises, tasks, who awaits what, what is still to be sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None
branch_labels = None
depends_on = None

SHARDS = 64
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create every table, the one ledger queue, and its shards."""
    _queues()
    _promises()
    _tasks()
    _relations()


def _queues() -> None:
    queues = op.create_table(
        "ledger_queues",
        sa.Column("queue", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("now", sa.BigInteger, nullable=False),
    )
    shards = op.create_table(
        "shards",
        sa.Column("shard", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("queue", sa.SmallInteger, nullable=False),
    )
    op.bulk_insert(queues, [{"queue": 0, "generation": 0, "now": 0}])
    op.bulk_insert(shards, [{"shard": shard, "queue": 0} for shard in range(SHARDS)])


def _promises() -> None:
    op.create_table(
        "promises",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("origin", TEXT, nullable=False),
        sa.Column("parent", TEXT, nullable=False),
        sa.Column("branch", TEXT, nullable=False),
        sa.Column("func", TEXT, nullable=False),
        sa.Column("version", TEXT, nullable=False),
        sa.Column("group", TEXT, nullable=False),
        sa.Column("external", sa.Boolean, nullable=False),
        sa.Column("param_headers", TEXT, nullable=False),
        sa.Column("param_data", TEXT, nullable=False),
        sa.Column("value_headers", TEXT, nullable=False),
        sa.Column("value_data", TEXT, nullable=False),
        sa.Column("error_type", TEXT, nullable=False),
        sa.Column("tags", TEXT, nullable=False),
        sa.Column("timeout_at", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("settled_at", sa.BigInteger),
        sa.Column("settled_by", TEXT, nullable=False),
    )
    for column in ("origin", "branch", "state", "func"):
        op.create_index(f"ix_promises_{column}", "promises", [column, "created_at"])
    op.create_index("ix_promises_settled_at", "promises", ["settled_at"])
    _partial_index("ix_promises_due", "promises", "timeout_at", "state = 'pending'")
    op.create_table(
        "tags",
        sa.Column("promise_id", TEXT, primary_key=True),
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("value", TEXT, nullable=False),
    )
    op.create_index("ix_tags_name", "tags", ["name", "value"])


def _tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("resumes", TEXT, nullable=False),
        sa.Column("pid", TEXT),
        sa.Column("ttl", sa.BigInteger),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("retry_at", sa.BigInteger),
        sa.Column("offered", sa.Boolean, nullable=False),
        sa.Column("holder", TEXT, nullable=False),
        sa.Column("ticket", TEXT, nullable=False),
        sa.Column("redeliveries", sa.BigInteger, nullable=False),
        sa.Column("last_holder", TEXT, nullable=False),
        sa.Column("last_version", sa.BigInteger, nullable=False),
        sa.Column("deliveries", sa.BigInteger, nullable=False),
        sa.Column("acquired_at", sa.BigInteger),
        sa.Column("reason", TEXT, nullable=False),
    )
    op.create_index("ix_tasks_state", "tasks", ["state", "acquired_at"])
    _partial_index("ix_tasks_retry", "tasks", "retry_at", "state = 'pending' AND NOT offered")
    _partial_index("ix_tasks_lease", "tasks", "expires_at", "state = 'acquired'")


def _relations() -> None:
    op.create_table(
        "callbacks",
        sa.Column("awaited", TEXT, primary_key=True),
        sa.Column("awaiter", TEXT, primary_key=True),
    )
    op.create_table(
        "listeners",
        sa.Column("awaited", TEXT, primary_key=True),
        sa.Column("address", TEXT, primary_key=True),
    )
    op.create_table(
        "outbox",
        sa.Column("serial", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("task_id", TEXT, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("target", TEXT, nullable=False),
    )
    op.create_index("ix_outbox_task", "outbox", ["task_id"])


def _partial_index(name: str, table: str, column: str, where: str) -> None:
    op.create_index(
        name, table, [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where)
    )
