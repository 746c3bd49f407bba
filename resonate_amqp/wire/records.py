"""A record and a response of the protocol: to JSON and from it.

Responses come from the ledger, which checked what it recorded; they are read without ceremony.
An execute comes from a queue that others may write to, so its promise is checked.
"""

from __future__ import annotations

from typing import Any

from resonate_amqp.core.model import Promise, PromiseState, Task, TaskState
from resonate_amqp.core.requests import Response, Verdict
from resonate_amqp.errors import Malformed
from resonate_amqp.wire.fields import Fields, read_value, write_value
from resonate_amqp.wire.requests import read_id
from resonate_amqp.wire.schedules import read_schedule, write_schedule

_STATES = frozenset(state.value for state in PromiseState)


def write_promise(promise: Promise) -> dict[str, Any]:
    """The promise record of the protocol; who awaits it is not part of it."""
    record: dict[str, Any] = {
        "id": promise.id,
        "state": promise.state.value,
        "param": write_value(promise.param),
        "value": write_value(promise.value),
        "tags": dict(promise.tags),
        "timeoutAt": promise.timeout_at,
        "createdAt": promise.created_at,
    }
    if promise.settled_at is not None:
        record["settledAt"] = promise.settled_at
    return record


def read_promise(record: dict[str, Any]) -> Promise:
    """The promise a record holds."""
    return Promise(
        id=record["id"],
        state=PromiseState(record["state"]),
        param=read_value(record["param"]),
        value=read_value(record["value"]),
        tags=record["tags"],
        timeout_at=record["timeoutAt"],
        created_at=record["createdAt"],
        settled_at=record.get("settledAt"),
    )


def check_promise(fields: Fields) -> Promise:
    """A promise record from whoever can reach a worker's queue; raises Malformed."""
    state = fields.text("state")
    if state not in _STATES:
        raise Malformed(fields.path("state"), f"{state!r} is no state of a promise")
    return Promise(
        id=read_id(fields),
        state=PromiseState(state),
        param=fields.value("param"),
        value=fields.value("value"),
        tags=fields.texts("tags"),
        timeout_at=fields.integer("timeoutAt"),
        created_at=fields.integer("createdAt"),
        settled_at=fields.integer("settledAt") if fields.raw("settledAt") is not None else None,
    )


def write_task(task: Task) -> dict[str, Any]:
    """The task record of the protocol, with the ledger's own columns that a worker needs."""
    record: dict[str, Any] = {
        "id": task.id,
        "state": task.state.value,
        "version": task.version,
        "resumes": len(task.resumes),
        "deliveries": task.deliveries,
    }
    if task.pid is not None:
        record["pid"] = task.pid
        record["ttl"] = task.ttl
        record["expiresAt"] = task.expires_at
    if task.reason:
        record["reason"] = task.reason
    return record


def read_task(record: dict[str, Any]) -> Task:
    """The task a record holds, as far as the wire tells."""
    return Task(
        id=record["id"],
        state=TaskState(record["state"]),
        version=record["version"],
        deliveries=record.get("deliveries", 0),
        pid=record.get("pid"),
        ttl=record.get("ttl"),
        expires_at=record.get("expiresAt"),
        retry_at=record.get("retryAt"),
        acquired_at=record.get("acquiredAt"),
        reason=record.get("reason", ""),
    )


def write_response(kind: str, response: Response) -> dict[str, Any]:
    """A response to a request of this kind; absent parts are left out."""
    data: dict[str, Any] = {}
    if response.promise is not None:
        data["promise"] = write_promise(response.promise)
        data["applied"] = response.applied
    if response.task is not None:
        data["task"] = write_task(response.task)
    if response.preload:
        data["preload"] = [write_promise(promise) for promise in response.preload]
    if response.more:
        data["more"] = True
    if response.lost:
        data["lost"] = list(response.lost)
    if response.verdict is not None:
        data["delivery"] = response.verdict.value
    if response.schedule is not None:
        data["schedule"] = write_schedule(response.schedule)
    if response.error:
        data["error"] = response.error
    return {"kind": kind, "head": {"status": response.status}, "data": data}


def read_response(record: dict[str, Any]) -> Response:
    """The response a record holds."""
    data = record["data"]
    return Response(
        status=record["head"]["status"],
        promise=read_promise(data["promise"]) if "promise" in data else None,
        task=read_task(data["task"]) if "task" in data else None,
        preload=tuple(read_promise(child) for child in data.get("preload", ())),
        more=data.get("more", False),
        applied=data.get("applied", False),
        lost=tuple(data.get("lost", ())),
        verdict=Verdict(data["delivery"]) if "delivery" in data else None,
        schedule=read_schedule(data["schedule"]) if "schedule" in data else None,
        error=data.get("error", ""),
    )


def write_node(promise: Promise, task: Task | None) -> dict[str, Any]:
    """A record of the answer to a query: a promise with its task."""
    return {"promise": write_promise(promise)} | ({"task": _dated(task)} if task else {})


def _dated(task: Task) -> dict[str, Any]:
    """The record for whoever looks on: with since when the task waits for a worker, or has one."""
    dates = {"retryAt": task.retry_at, "acquiredAt": task.acquired_at}
    return write_task(task) | {name: at for name, at in dates.items() if at is not None}


def read_tree(record: dict[str, Any]) -> list[tuple[Promise, Task | None]]:
    """The promises and tasks that the answer to a query holds."""
    return [
        (read_promise(node["promise"]), read_task(node["task"]) if "task" in node else None)
        for node in record["data"]["tree"]
    ]
