"""Schedules, mirrors of promises of other trees, and an index of what was offered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0002"
down_revision = "r0001"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create tables and index."""
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
    offered = sa.text("state = 'pending' AND offered")
    op.create_index(
        "ix_tasks_offered", "tasks", ["retry_at"], sqlite_where=offered, postgresql_where=offered
    )
