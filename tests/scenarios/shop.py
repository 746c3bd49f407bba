"""A shop with a database of its own: it records an order and the call that ships it together.

`record DATABASE ID...` commits orders and rolls one back; `relay DATABASE` sends what was
recorded, and is killed by its own hand at the moment at which it would delete the first rows.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from resonate_amqp import Resonate

orders = sa.Table("orders", sa.MetaData(), sa.Column("id", sa.Text, primary_key=True))
resonate = Resonate(group="shop").options(target="poll://any@service-a")


def record(engine: sa.Engine, *ids: str) -> None:
    orders.metadata.create_all(engine)
    resonate.create_calls_table(engine)
    for number, order_id in enumerate(ids):
        with Session(engine) as session:
            session.execute(orders.insert().values(id=order_id))
            resonate.create_in(session, order_id, "twice", number)
            session.commit()
    with Session(engine) as session:
        session.execute(orders.insert().values(id="undone"))
        resonate.create_in(session, "undone", "twice", 0)
        session.rollback()


def relay(engine: sa.Engine) -> None:
    def on_statement(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE FROM resonate_calls"):
            os.kill(os.getpid(), signal.SIGKILL)

    sa.event.listen(engine, "before_cursor_execute", on_statement)
    resonate.relay(engine)
    threading.Event().wait()


if __name__ == "__main__":
    what, database, *ids = sys.argv[1:]
    {"record": record, "relay": relay}[what](sa.create_engine(database), *ids)
