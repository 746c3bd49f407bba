"""Schedules, mirrors of promises of other trees, and an index for each state that is asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0002"
down_revision = "r0001"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create tables, and replace the indexes of states."""
    op.create_table(
        "schedules",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("cron", TEXT, nullable=False),
        sa.Column("param_headers", TEXT, nullable=False),
        sa.Column("param_data", TEXT, nullable=False),
        sa.Column("tags", TEXT, nullable=False),
        sa.Column("timeout_ms", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("next_at", sa.BigInteger),
        sa.Column("last_at", sa.BigInteger),
        sa.Column("paused", sa.Boolean, nullable=False),
    )
    due = sa.text("NOT paused")
    op.create_index(
        "ix_schedules_due", "schedules", ["next_at"], sqlite_where=due, postgresql_where=due
    )
    op.create_table(
        "mirrors",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("named", TEXT, nullable=False),
    )
    op.create_index("ix_mirrors_named", "mirrors", ["named"])
    _indexes_by_state()


def _indexes_by_state() -> None:
    """SQLite prefers an index of every state to the small one that is meant."""
    op.drop_index("ix_promises_state", "promises")
    op.drop_index("ix_promises_settled_at", "promises")
    op.drop_index("ix_tasks_state", "tasks")
    for name, table, column, where in (
        ("ix_promises_ended", "promises", "settled_at", "state <> 'pending'"),
        ("ix_promises_pending", "promises", "created_at", "state = 'pending'"),
        ("ix_tasks_offered", "tasks", "retry_at", "state = 'pending' AND offered"),
        ("ix_tasks_acquired", "tasks", "acquired_at", "state = 'acquired'"),
        ("ix_tasks_suspended", "tasks", "id", "state = 'suspended'"),
        ("ix_tasks_halted", "tasks", "id", "state = 'halted'"),
    ):
        words = sa.text(where)
        op.create_index(name, table, [column], sqlite_where=words, postgresql_where=words)
