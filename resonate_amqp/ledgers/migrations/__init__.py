"""Alembic migrations of the ledger's schema, run by `ledgers.schema`."""
