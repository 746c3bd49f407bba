"""A shop as a Celery app: `fulfil` has an order paid and packed, and mails the customer.

celery -A shop worker -Q orders        (and -Q payments, -Q warehouse, -Q mail)
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing
from http.client import HTTPException
from typing import Any
from urllib.request import Request, urlopen

from celery import Celery

from resonate_amqp import Context
from resonate_amqp.ext.celery import durable, from_celery, install

CHARGES = os.environ.get("PROVIDER_URL", "http://127.0.0.1:8100") + "/charges"

app = Celery("shop", broker=os.environ["BROKER_URL"], backend="rpc://")
app.conf.update(
    broker_transport_options={"confirm_publish": True},
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_routes={
        "shop.fulfil": "orders",
        "shop.charge": "payments",
        "shop.pack": "warehouse",
        "shop.send_mail": "mail",
    },
    worker_prefetch_multiplier=1,
)
resonate = from_celery(app)
install(app, resonate)


@app.task
@durable(resonate)
def fulfil(ctx: Context, order: int, total: int) -> Generator[Any, Any, dict[str, str]]:
    receipt = yield ctx.rfc("shop.charge", order, total).options(target="celery://payments")
    parcel = yield ctx.rfc("shop.pack", order).options(target="celery://warehouse")
    yield ctx.rfi("shop.send_mail", order, receipt, parcel).options(target="celery://mail")
    return {"receipt": receipt, "parcel": parcel}


@app.task(
    bind=True, autoretry_for=(OSError, HTTPException), max_retries=None, default_retry_delay=1
)
def charge(self: Any, order: int, total: int) -> str:
    asked = json.dumps({"order": order, "amount": total}).encode()
    headers = {"Idempotency-Key": self.request.id}
    with urlopen(Request(CHARGES, asked, headers), timeout=10) as answer:
        return str(json.load(answer)["receipt"])


@app.task(bind=True)
@durable(resonate)
def pack(self: Any, order: int) -> str:
    number = store("WAREHOUSE_DB", "parcels", self.request.id, order)
    return f"P{number}"


@app.task(bind=True)
def send_mail(self: Any, order: int, receipt: str, parcel: str) -> None:
    store("MAIL_DB", "mails", self.request.id, order)


def store(database: str, table: str, key: str, order: int) -> int:
    """Note a request, and keep what it asks for, once for each key."""
    path = os.environ.get(database, f"{table}.db")
    with closing(sqlite3.connect(path, timeout=30)) as opened, opened:
        opened.execute('CREATE TABLE IF NOT EXISTS requests (key TEXT, "order" INTEGER)')
        opened.execute(
            f'CREATE TABLE IF NOT EXISTS {table} (key TEXT PRIMARY KEY, "order" INTEGER)'
        )
        opened.execute("INSERT INTO requests VALUES (?, ?)", (key, order))
        opened.execute(f"INSERT OR IGNORE INTO {table} VALUES (?, ?)", (key, order))
        found = opened.execute(f"SELECT rowid FROM {table} WHERE key = ?", (key,))
        number = int(found.fetchone()[0])
    # It is done and nobody knows yet: the moment at which a worker best be killed.
    time.sleep(0.03)
    return number
