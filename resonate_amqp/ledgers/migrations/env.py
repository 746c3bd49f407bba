"""Alembic's entry point: runs on the connection it is handed."""

from __future__ import annotations

from alembic import context

from resonate_amqp.ledgers.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table="resonate_alembic_version",
    render_as_batch=True,
    compare_type=True,
)
context.run_migrations()
