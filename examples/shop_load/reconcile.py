"""Reconciling: what the ledger and the stores of provider, warehouse and mail say of each order."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Store:
    """A store of one of the services: a table of what was done, by key, and one of requests."""

    what: str
    file: str
    table: str


STORES = (
    Store("charge", "provider.db", "charges"),
    Store("parcel", "warehouse.db", "parcels"),
    Store("mail", "mail.db", "mails"),
)


@dataclass(slots=True)
class Found:
    """What is in the books of the shop, by order."""

    keys: dict[str, dict[int, list[str]]]
    """By what was done, the keys under which it was done for each order."""
    requests: dict[str, int]
    states: dict[str, str] = field(default_factory=dict)
    """By promise id, the state in the ledger."""
    settled_at: dict[str, float] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)

    def differs(self, accepted: Collection[int], *, ledger: bool) -> list[str]:
        """What is not as it has to be, one line for each finding."""
        lines = [
            f"order {number}: {len(keys)} {store.what}s ({', '.join(keys) or 'none'})"
            for store in STORES
            for number in sorted({*accepted, *self.keys[store.what]})
            if len(keys := self.keys[store.what].get(number, [])) != 1
        ]
        return lines + self._differs_in_ledger(accepted) if ledger else lines

    def _differs_in_ledger(self, accepted: Collection[int]) -> list[str]:
        wanted = {f"order-{number}": "order" for number in accepted}
        for store in STORES:
            for number, keys in self.keys[store.what].items():
                wanted |= dict.fromkeys(keys, f"{store.what} of order {number}")
        lines = [
            f"{what}: promise {promise_id} is {state}"
            for promise_id, what in wanted.items()
            if (state := self.states.get(promise_id, "unknown")) != RESOLVED
        ]
        return lines + [f"unfinished: {promise_id}" for promise_id in self.unfinished]

    def repeated(self, what: str) -> int:
        """How many requests came a second time, or more often."""
        return self.requests[what] - sum(len(keys) for keys in self.keys[what].values())


def read(folder: Path) -> Found:
    """The books as they are now."""
    keys: dict[str, dict[int, list[str]]] = {}
    requests = {}
    for store in STORES:
        done = defaultdict(list)
        for number, key in _rows(folder / store.file, f'SELECT "order", key FROM {store.table}'):
            done[int(str(number))].append(str(key))
        keys[store.what] = dict(done)
        requests[store.what] = len(_rows(folder / store.file, "SELECT 1 FROM requests"))
    found = Found(keys, requests)
    for promise_id, state, settled_at in _rows(
        folder / "ledger.db", "SELECT id, state, settled_at FROM promises"
    ):
        found.states[str(promise_id)] = str(state)
        if isinstance(settled_at, int):
            found.settled_at[str(promise_id)] = settled_at / 1000
    pending = "SELECT id FROM promises WHERE state = 'pending'"
    tasks = "SELECT id FROM tasks WHERE state != 'fulfilled'"
    found.unfinished = [
        str(one) for (one,) in _rows(folder / "ledger.db", f"{pending} UNION {tasks}")
    ]
    return found


def durations(found: Found, accepted: Mapping[int, float]) -> list[float]:
    """How long each order took from its confirm to its record, in seconds, sorted."""
    times = [
        max(0.0, found.settled_at[promise_id] - at)
        for number, at in accepted.items()
        if (promise_id := f"order-{number}") in found.settled_at
    ]
    return sorted(times)


def _rows(path: Path, statement: str) -> list[tuple[object, ...]]:
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as database:
        try:
            return database.execute(statement).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            raise
