"""What this shop does to the world: it charges cards, packs parcels and sends mail.

Each is done once for each key, and asked for as often as somebody asks; both are kept.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from http.client import HTTPException
from typing import Any
from urllib.request import Request, urlopen

# It is done and nobody knows yet: the moment at which a service best be killed.
PACKING_S = 0.03


def charge(key: str, order: Any) -> Any:
    """Have the provider charge a card; one that does not answer is asked again."""
    url = os.environ.get("PROVIDER_URL", "http://127.0.0.1:8100") + "/charges"
    asked = json.dumps({"order": order["id"], "amount": order["total"]}).encode()
    while True:
        try:
            with urlopen(Request(url, asked, {"Idempotency-Key": key}), timeout=10) as answer:
                return json.load(answer)
        except (OSError, HTTPException):
            time.sleep(0.2)


def pack(key: str, order: Any) -> dict[str, str]:
    """Pack the goods of an order."""
    return {"parcel": f"P{_keep('WAREHOUSE_DB', 'parcels', key, order['id'])}"}


def send(key: str, letter: Any) -> None:
    """Send a letter to a customer."""
    _keep("MAIL_DB", "mails", key, letter["order"])


def _keep(database: str, table: str, key: str, order: int) -> int:
    path = os.environ.get(database, f"{table}.db")
    with closing(sqlite3.connect(path, timeout=30)) as store, store:
        store.execute('CREATE TABLE IF NOT EXISTS requests (key TEXT, "order" INTEGER)')
        store.execute(f'CREATE TABLE IF NOT EXISTS {table} (key TEXT PRIMARY KEY, "order" INTEGER)')
        store.execute("INSERT INTO requests VALUES (?, ?)", (key, order))
        store.execute(f"INSERT OR IGNORE INTO {table} VALUES (?, ?)", (key, order))
        found = store.execute(f"SELECT rowid FROM {table} WHERE key = ?", (key,))
        number = int(found.fetchone()[0])
    time.sleep(PACKING_S)
    return number
