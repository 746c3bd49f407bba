"""The load's reconciliation: what is lost, done twice or not on record is named."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from examples.shop_load.reconcile import STORES, Found, read
from examples.shop_load.shops import SHOPS, variables


def found(**changes: dict[int, list[str]]) -> Found:
    """The books of a shop in which order 1 went well, but for the changes."""
    keys = {store.what: {1: [f"order-1:{at}"]} for at, store in enumerate(STORES, 1)} | changes
    promises = ["order-1", "order-1:1", "order-1:2", "order-1:3"]
    return Found(keys, dict.fromkeys(keys, 1), states=dict.fromkeys(promises, "resolved"))


def test_books_in_which_each_order_has_one_of_each_do_not_differ() -> None:
    assert found().differs([1], ledger=True) == []


def test_what_was_done_twice_is_named_with_its_keys() -> None:
    twice = found(charge={1: ["order-1:1", "other"]})

    assert twice.differs([1], ledger=False) == ["order 1: 2 charges (order-1:1, other)"]


def test_an_accepted_order_of_which_nothing_is_known_is_named() -> None:
    assert found().differs([1, 2], ledger=True) == [
        "order 2: 0 charges (none)",
        "order 2: 0 parcels (none)",
        "order 2: 0 mails (none)",
        "order: promise order-2 is unknown",
    ]


def test_what_was_done_without_a_record_is_named() -> None:
    unrecorded = found()
    unrecorded.states["order-1:3"] = "pending"
    unrecorded.unfinished = ["order-1:3"]

    assert unrecorded.differs([1], ledger=True) == [
        "mail of order 1: promise order-1:3 is pending",
        "unfinished: order-1:3",
    ]


def test_requests_are_counted_beside_what_was_done(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "provider.db")) as store, store:
        store.execute('CREATE TABLE charges (key TEXT, "order" INTEGER)')
        store.execute('CREATE TABLE requests (key TEXT, "order" INTEGER)')
        store.execute("INSERT INTO charges VALUES ('order-1:1', 1)")
        store.executemany("INSERT INTO requests VALUES (?, 1)", [("order-1:1",)] * 3)

    books = read(tmp_path)
    assert books.keys == {"charge": {1: ["order-1:1"]}, "parcel": {}, "mail": {}}
    assert (books.requests["charge"], books.repeated("charge")) == (3, 2)


def test_the_books_of_a_service_that_was_killed_as_it_wrote_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "killed").mkdir()
    with closing(sqlite3.connect(tmp_path / "provider.db")) as store:
        store.execute('CREATE TABLE charges (key TEXT, "order" INTEGER)')
        store.execute('CREATE TABLE requests (key TEXT, "order" INTEGER)')
        store.executemany("INSERT INTO charges VALUES (?, 1)", [("kept" * 50,)] * 500)
        store.commit()
        # More than the cache holds: the file has changed, and the journal says how it was.
        store.execute("PRAGMA cache_size = 1")
        store.execute("UPDATE charges SET key = 'lost'")
        for path in tmp_path.glob("provider.db*"):
            shutil.copy(path, tmp_path / "killed")
        store.rollback()

    assert read(tmp_path / "killed").keys["charge"] == {1: ["kept" * 50] * 500}


def test_each_shop_has_a_process_for_each_service_before_and_after(tmp_path: Path) -> None:
    environment = variables("amqp://nobody.invalid", tmp_path)
    for shop in SHOPS.values():
        for version in ("before", "after"):
            names = [program.name for program in shop.programs(version, environment, takers=1)]
            assert names == ["orders-1", *shop.services[1:]]
