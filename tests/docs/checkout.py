"""A checkout with a database of its own, which dies between its commit and what follows it.

`python -m tests.docs.checkout DATABASE stock|durable` rolls the order `undone` back and commits
the order `bought`; each is to be charged.
"""

from __future__ import annotations

import os
import signal
import sys

import sqlalchemy as sa
from sqlalchemy.orm import Session

from tests.docs.pains import charge, charge_durable, resonate

orders = sa.Table("orders", sa.MetaData(), sa.Column("id", sa.Text, primary_key=True))


def stock(engine: sa.Engine) -> None:
    """Send within the transaction, or after it."""
    with Session(engine) as session:
        session.execute(orders.insert().values(id="undone"))
        charge.delay("undone-stock")
        session.rollback()
    with Session(engine) as session:
        session.execute(orders.insert().values(id="bought"))
        session.commit()
        os.kill(os.getpid(), signal.SIGKILL)
        charge.delay("bought-stock")


def durable(engine: sa.Engine) -> None:
    """Record the call in the transaction."""
    resonate.create_calls_table(engine)
    calls = resonate.options(target="celery://celery")
    with Session(engine) as session:
        session.execute(orders.insert().values(id="undone"))
        calls.create_in(session, "charge-undone", charge_durable.name, "undone-durable")
        session.rollback()
    with Session(engine) as session:
        session.execute(orders.insert().values(id="bought"))
        calls.create_in(session, "charge-bought", charge_durable.name, "bought-durable")
        session.commit()
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _, database, how = sys.argv
    made = sa.create_engine(database)
    orders.metadata.create_all(made)
    {"stock": stock, "durable": durable}[how](made)
