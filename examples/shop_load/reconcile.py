"""Reconciling: what the ledger and the books of a shop and its provider say of each order."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Store:
    """A table of what was done, by key; in the same file one of requests, if they are counted."""

    what: str
    file: str
    table: str
    order: str = "order"
    requests: bool = True


STORES = (
    Store("charge", "provider.db", "charges"),
    Store("parcel", "warehouse.db", "parcels"),
    Store("mail", "mail.db", "mails"),
)
"""Each service has a store of its own."""
DATABASE = (
    STORES[0],
    Store("receipt", "shop.db", "orders_charge", "order_id", requests=False),
    Store("parcel", "shop.db", "orders_parcel", "order_id", requests=False),
    Store("mail", "shop.db", "orders_mail", "order_id", requests=False),
)
"""Everything but what the provider has done is in the shop's one database."""


@dataclass(slots=True)
class Found:
    """What is in the books of the shop, by order."""

    keys: dict[str, dict[int, list[str]]]
    """By what was done, the keys under which it was done for each order."""
    requests: dict[str, int]
    """How often it was asked for, where that is counted."""
    states: dict[str, str] = field(default_factory=dict)
    """By promise id, the state in the ledger."""
    settled_at: dict[str, float] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)

    def differs(self, accepted: Collection[int], *, ledger: bool) -> list[str]:
        """What is not as it has to be, one line for each finding."""
        lines = [
            f"order {number}: {len(keys)} {what}s ({', '.join(keys) or 'none'})"
            for what, done in self.keys.items()
            for number in sorted({*accepted, *done})
            if len(keys := done.get(number, [])) != 1
        ]
        return lines + self._differs_in_ledger(accepted) if ledger else lines

    def _differs_in_ledger(self, accepted: Collection[int]) -> list[str]:
        wanted = {f"order-{number}": "order" for number in accepted}
        for what, done in self.keys.items():
            for number, keys in done.items():
                wanted |= dict.fromkeys(keys, f"{what} of order {number}")
        lines = [
            f"{what}: promise {promise_id} is {state}"
            for promise_id, what in wanted.items()
            if (state := self.states.get(promise_id, "unknown")) != RESOLVED
        ]
        return lines + [f"unfinished: {promise_id}" for promise_id in self.unfinished]

    def repeated(self, what: str) -> int:
        """How many requests came a second time, or more often."""
        return self.requests[what] - sum(len(keys) for keys in self.keys[what].values())


def read(folder: Path, stores: Sequence[Store] = STORES) -> Found:
    """The books as they are now."""
    keys: dict[str, dict[int, list[str]]] = {}
    requests = {}
    for store in stores:
        done = defaultdict(list)
        rows = _rows(folder / store.file, f'SELECT "{store.order}", key FROM {store.table}')
        for number, key in rows:
            done[int(str(number))].append(str(key))
        keys[store.what] = dict(done)
        if store.requests:
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
    # What a killed service has left half written is rolled back by whoever reads next.
    with closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=30)) as database:
        try:
            return database.execute(statement).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            raise
