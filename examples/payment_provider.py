"""A payment provider with an API over HTTP, as a shop does not own it: one charge per key.

    python examples/payment_provider.py

Listens on PORT (8100) and keeps its book in the SQLite file PROVIDER_DB. `POST /charges` with a
header `Idempotency-Key` and a body like `{"order": 7, "amount": 25}` answers a receipt; the same
key again answers the same receipt and charges nothing. Every request is counted all the same.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = int(os.environ.get("PORT", "8100"))
BOOK = os.environ.get("PROVIDER_DB", "provider.db")
# The money has moved and nobody knows it yet: the moment at which a caller best be killed.
THINKS_S = 0.05

TABLES = """
CREATE TABLE IF NOT EXISTS charges (key TEXT PRIMARY KEY, "order" INTEGER, amount INTEGER);
CREATE TABLE IF NOT EXISTS requests (key TEXT, "order" INTEGER);
"""


def charge(key: str, order: int, amount: int) -> dict[str, str]:
    with closing(sqlite3.connect(BOOK, timeout=30)) as book, book:
        book.execute("INSERT INTO requests VALUES (?, ?)", (key, order))
        book.execute("INSERT OR IGNORE INTO charges VALUES (?, ?, ?)", (key, order, amount))
        (number,) = book.execute("SELECT rowid FROM charges WHERE key = ?", (key,)).fetchone()
    time.sleep(THINKS_S)
    return {"receipt": f"R{number}"}


class Charges(BaseHTTPRequestHandler):
    """`POST /charges`."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        receipt = charge(self.headers["Idempotency-Key"], asked["order"], asked["amount"])
        answer = json.dumps(receipt).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        return


if __name__ == "__main__":
    with closing(sqlite3.connect(BOOK)) as opened:
        opened.executescript(TABLES)
    with ThreadingHTTPServer(("127.0.0.1", PORT), Charges) as server:
        server.serve_forever()
