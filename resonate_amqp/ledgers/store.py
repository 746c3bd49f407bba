"""Storing an overlay's changes: one statement a table, prepared once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, update

from resonate_amqp.core.effects import Overlay
from resonate_amqp.core.model import Promise, shard_of
from resonate_amqp.ledgers import schedules
from resonate_amqp.ledgers.prepared import Prepared
from resonate_amqp.ledgers.records import Records
from resonate_amqp.ledgers.tables import (
    OUTCOME_COLUMNS,
    TASK_COLUMNS,
    callbacks,
    listeners,
    mirror_row,
    mirrors,
    outbox,
    outcome_row,
    promise_row,
    promises,
    tags,
    task_row,
    tasks,
)

_insert_promise = Prepared(insert(promises))
_settle_promise = Prepared(
    update(promises)
    .where(promises.c.id == bindparam("of"))
    .values({name: bindparam(name) for name in OUTCOME_COLUMNS})
)
_insert_task = Prepared(insert(tasks))
_update_task = Prepared(
    update(tasks)
    .where(tasks.c.id == bindparam("of"))
    .values({name: bindparam(name) for name in TASK_COLUMNS})
)
_insert_callback = Prepared(insert(callbacks))
_delete_callback = Prepared(
    delete(callbacks).where(
        callbacks.c.awaited == bindparam("of"), callbacks.c.awaiter == bindparam("by")
    )
)
_insert_listener = Prepared(insert(listeners))
_delete_listener = Prepared(
    delete(listeners).where(
        listeners.c.awaited == bindparam("of"), listeners.c.address == bindparam("by")
    )
)
_insert_offer = Prepared(insert(outbox))
_withdraw = Prepared(delete(outbox).where(outbox.c.task_id == bindparam("of")))
_confirm = Prepared(delete(outbox).where(outbox.c.serial == bindparam("of")))
_insert_mirror = Prepared(insert(mirrors))
_delete_mirror = Prepared(delete(mirrors).where(mirrors.c.id == bindparam("of")))
_insert_tag = Prepared(insert(tags))


def store(
    connection: Connection, before: Records, state: Overlay, confirmed: Sequence[int]
) -> None:
    """Write what the overlay changed, and drop the confirmed outbox rows."""
    _store_promises(connection, before, state)
    _store_tasks(connection, before, state)
    schedules.store(connection, state.schedules)
    _withdraw.run(connection, [{"of": task_id} for task_id in sorted(state.withdrawn)])
    _confirm.run(connection, [{"of": serial} for serial in confirmed])
    _insert_offer.run(
        connection,
        [
            {
                "serial": offer.serial,
                "shard": shard_of(offer.task_id),
                "task_id": offer.task_id,
                "version": offer.version,
                "target": offer.target,
            }
            for offer in state.offers
        ],
    )


def _store_promises(connection: Connection, before: Records, state: Overlay) -> None:
    inserts: list[dict[str, Any]] = []
    settles: list[dict[str, Any]] = []
    named: list[dict[str, Any]] = []
    mirrored: list[dict[str, Any]] = []
    unmirrored: list[dict[str, Any]] = []
    related = _Related()
    for promise in state.promises.values():
        known = before.promise(promise.id)
        if known is None:
            inserts.append(promise_row(promise))
            if promise.mirror and promise.pending:
                mirrored.append(mirror_row(promise))
            named.extend(
                {"promise_id": promise.id, "name": name, "value": value}
                for name, value in promise.tags.items()
                if not name.startswith("resonate:")
            )
        elif known.state is not promise.state:
            settles.append({"of": promise.id} | outcome_row(promise))
            if promise.mirror:
                unmirrored.append({"of": promise.id})
        related.note(known, promise)
    _insert_promise.run(connection, inserts)
    _settle_promise.run(connection, settles)
    _insert_tag.run(connection, named)
    _insert_mirror.run(connection, mirrored)
    _delete_mirror.run(connection, unmirrored)
    _insert_callback.run(connection, related.callbacks_added)
    _delete_callback.run(connection, related.callbacks_removed)
    _insert_listener.run(connection, related.listeners_added)
    _delete_listener.run(connection, related.listeners_removed)


def _store_tasks(connection: Connection, before: Records, state: Overlay) -> None:
    inserts: list[dict[str, Any]] = []
    updates: list[dict[str, Any]] = []
    for task in state.tasks.values():
        known = before.task(task.id)
        if known is None:
            inserts.append(task_row(task))
        elif known != task:
            row = task_row(task)
            row["of"] = row.pop("id")
            del row["shard"]
            updates.append(row)
    _insert_task.run(connection, inserts)
    _update_task.run(connection, updates)


class _Related:
    """What a batch added to and removed from the relations of its promises."""

    def __init__(self) -> None:
        self.callbacks_added: list[dict[str, str]] = []
        self.callbacks_removed: list[dict[str, str]] = []
        self.listeners_added: list[dict[str, str]] = []
        self.listeners_removed: list[dict[str, str]] = []

    def note(self, before: Promise | None, after: Promise) -> None:
        old_callbacks = before.callbacks if before else ()
        old_listeners = before.listeners if before else ()
        if old_callbacks != after.callbacks:
            for awaiter in set(after.callbacks) - set(old_callbacks):
                self.callbacks_added.append({"awaited": after.id, "awaiter": awaiter})
            for awaiter in set(old_callbacks) - set(after.callbacks):
                self.callbacks_removed.append({"of": after.id, "by": awaiter})
        if old_listeners != after.listeners:
            for address in set(after.listeners) - set(old_listeners):
                self.listeners_added.append({"awaited": after.id, "address": address})
            for address in set(old_listeners) - set(after.listeners):
                self.listeners_removed.append({"of": after.id, "by": address})
